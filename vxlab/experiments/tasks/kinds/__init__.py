"""What kinds of task there are: what a model of each answers with, is trained by and is scored on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
