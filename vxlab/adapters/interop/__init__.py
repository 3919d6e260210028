"""Adapters of other libraries on disk: their folders read, without a model, and written."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
