"""Adapters that were trained elsewhere: their updates, and a place for them in a store beside its runs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
