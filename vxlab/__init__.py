"""vxlab: which adapter, at which rank, on which layers, is worth its parameters, and why?

Importing vxlab loads torch and the adapters. What needs transformers, plotly or Jupyter loads when first used.
"""

import importlib
from typing import TYPE_CHECKING

from vxlab._version import __version__
from vxlab.adapters import (
    AdaptedLinear,
    Full,
    Head,
    LoRA,
    LoRAXS,
    VeRA,
    adapted_layers,
    adapted_linear,
    attach,
    detach,
    load_adapter,
    merge,
    method_from_name,
    resolve_targets,
    save_adapter,
    trainable_parameters,
    unmerge,
)
from vxlab.errors import VxlabError

if TYPE_CHECKING:
    from vxlab.experiments.models import load_model
    from vxlab.experiments.recipes import recipe
    from vxlab.experiments.record import RunRecord
    from vxlab.experiments.run import run
    from vxlab.experiments.spec import RunSpec
    from vxlab.experiments.tasks import Task, load_task

ELoRA = VeRA
"""VeRA's first name."""

_LAZY = {
    "RunRecord": "vxlab.experiments.record",
    "RunSpec": "vxlab.experiments.spec",
    "Task": "vxlab.experiments.tasks",
    "load_model": "vxlab.experiments.models",
    "load_task": "vxlab.experiments.tasks",
    "recipe": "vxlab.experiments.recipes",
    "run": "vxlab.experiments.run",
}

__all__ = [
    "AdaptedLinear",
    "ELoRA",
    "Full",
    "Head",
    "LoRA",
    "LoRAXS",
    "RunRecord",
    "RunSpec",
    "Task",
    "VeRA",
    "VxlabError",
    "__version__",
    "adapted_layers",
    "adapted_linear",
    "attach",
    "detach",
    "load_adapter",
    "load_model",
    "load_task",
    "merge",
    "method_from_name",
    "recipe",
    "resolve_targets",
    "run",
    "save_adapter",
    "trainable_parameters",
    "unmerge",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'vxlab' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
