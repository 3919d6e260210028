"""What methods cost: parameters and bytes by count, time and memory of a step by measurement."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
