"""A folder of very many adapters of one method on one base: added one by one or in bulk, read by name, served."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
