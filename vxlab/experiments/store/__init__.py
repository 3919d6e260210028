"""The results store: runs in a database and their folders, leased, read, kept and looked after."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
