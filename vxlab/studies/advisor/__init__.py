"""Which rank for which layer, before anything is trained, and whether that can be told at all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
