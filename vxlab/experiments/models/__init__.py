"""Pretrained models: their files, loading, padding, and whether merging changes what they answer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
