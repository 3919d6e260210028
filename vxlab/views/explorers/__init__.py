"""Explorers: what a reader chooses and what each choice shows, with and without a kernel."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
