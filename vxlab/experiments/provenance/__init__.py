"""What made the numbers of runs: which may be compared, in what they differ, and the words for it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
