"""Tensor mathematics on weights, updates and gradients, in float64; a module loads when one of its names is used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
