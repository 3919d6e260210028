"""What a model is fine-tuned on: labelled texts in three splits, from files, the hub or packages."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
