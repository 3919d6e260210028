"""The rank explorer's tables: what each rank costs and reaches before training."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
