"""Models that write: what each adapter gains in every metric of generated text, and what it writes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
