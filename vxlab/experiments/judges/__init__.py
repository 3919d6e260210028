"""A judge of what models answer: MT-Bench's questions, rated through any OpenAI-compatible server, and its noise."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
