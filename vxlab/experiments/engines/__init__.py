"""Engines: where the jobs of a sweep run. They know of functions and outcomes, and nothing of runs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
