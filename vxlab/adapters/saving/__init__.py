"""An adapter on disk: its two files, and what save_pretrained writes while it is on a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
