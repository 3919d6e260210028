"""Runs that train together in one pass: their adapters stacked over one frozen base, each run its own in all else."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
