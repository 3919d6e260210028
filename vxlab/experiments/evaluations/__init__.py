"""Outside tasks on what was trained here: lm-eval on a run's adapter in memory, and on its untuned base beside it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
