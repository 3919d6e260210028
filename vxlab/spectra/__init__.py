"""Singular values and vectors of weights: exact or nearly, on the GPU where there is one, kept on disk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
