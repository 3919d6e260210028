"""Files that a reader asks for: tables as CSV, figures as PNG or SVG."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
