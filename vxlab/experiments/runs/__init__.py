"""One run: its inputs, its training or its probe, its record, and what it trained."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
