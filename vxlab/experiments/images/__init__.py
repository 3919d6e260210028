"""Images: where they are, what they hold as 8-bit RGB, and the pixels that a model reads, kept once decoded."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
