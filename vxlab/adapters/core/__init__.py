"""What every adapter stands on: the operation, the adapted layer, the method and family contracts, fingerprints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
