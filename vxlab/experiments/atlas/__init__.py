"""The atlas: finished runs packed as Parquet, checked row by row, and read as a store."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
