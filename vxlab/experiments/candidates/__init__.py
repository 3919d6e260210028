"""What is said of a sweep's candidates beside each other: pairs, rivals, the front, the verdict."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
