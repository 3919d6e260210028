"""Images, a few a class: which adapter gains over the frozen features, what is confused, and where updates lie."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
