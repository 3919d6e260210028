"""Reports: notebooks executed with parameters, their pages, and the index of all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
