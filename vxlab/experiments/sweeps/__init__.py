"""Many runs: planned, run once each, tuned fairly, gathered, compared."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
