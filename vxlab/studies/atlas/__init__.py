"""Notebook 15: what holds across tasks, of the runs of an atlas."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
