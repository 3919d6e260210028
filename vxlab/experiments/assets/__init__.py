"""Packaged models and data: what can be fetched, fetched and verified once, kept in the cache."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
