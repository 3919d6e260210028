"""vxlab: which adapter, at which rank, on which layers, is worth its parameters, and why?

What a name needs, torch or transformers, plotly or Jupyter, loads when the name is first used.
The words that vxlab uses are in docs/glossary.md.
"""

import importlib
import logging
import os

import lazy_loader

from vxlab.collector import pause_collector as _pause_collector

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    with _pause_collector():  # torch and transformers take a quarter less time so
        return _load(name)


# What these say of kernels that they lack, wherever they are imported, by peft and transformers too.
for _name, _remark in (
    ("torchao", "Failed to load"),
    ("torch.utils._pytree", "is an Enum subclass"),
    ("bitsandbytes.backends.cpu.ops", "kernels-community"),
):
    logging.getLogger(_name).addFilter(lambda record, remark=_remark: remark not in record.getMessage())

if "VXLAB_IMPORT" in os.environ:  # last, for what it imports imports vxlab
    importlib.import_module("vxlab.adapters.methods.imports").import_passed_on()
