"""Whether four bits change which adapter wins: scores and memory by scheme, bases that move, and what merging costs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
