"""Linear probes: features of a frozen model, classifiers fitted on them, and both as a model again."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
