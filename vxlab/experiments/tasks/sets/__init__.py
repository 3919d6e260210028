"""The data sets that have a name: where each lies, what its columns are, and what it is scored by."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
