"""Many adapters of one family over one frozen model: rows of a batch by slot, in training, or by index, in serving."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
