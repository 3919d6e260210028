"""What was trained, on its way to other programs: exported as PEFT's folder, a plain LoRA or a whole model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
