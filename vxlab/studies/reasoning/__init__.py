"""Reasoning and commonsense by set: the untuned base first, what each adapter gains or loses, and what it answers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
