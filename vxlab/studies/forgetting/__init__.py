"""Forgetting: what tuning gains on its own task, beside what it changes on tasks that it never saw."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
