"""vxlab: which adapter, at which rank, on which layers, is worth its parameters, and why?

Importing vxlab loads torch and the adapters. What needs transformers, plotly or Jupyter loads when first used.
"""

import importlib
import os
from typing import TYPE_CHECKING

from vxlab._version import __version__
from vxlab.adapters import (
    PEFT,
    AdaptedLinear,
    BitFit,
    Full,
    Head,
    LiDB,
    LoRA,
    LoRAXS,
    Probe,
    VeRA,
    adapted_layers,
    adapted_linear,
    attach,
    detach,
    load_adapter,
    merge,
    method_from_name,
    register,
    resolve_targets,
    save_adapter,
    trainable_parameters,
    unmerge,
)
from vxlab.errors import VxlabError

if TYPE_CHECKING:
    from vxlab.experiments.compare import compare
    from vxlab.experiments.comparison import Comparison
    from vxlab.experiments.fair import Candidate, FairSweep
    from vxlab.experiments.fair_recipes import fair_recipe
    from vxlab.experiments.models import load_model
    from vxlab.experiments.own_loops import AdapterCallback, save_adapters_only
    from vxlab.experiments.recipes import recipe
    from vxlab.experiments.record import RunRecord
    from vxlab.experiments.run import run
    from vxlab.experiments.spec import RunSpec
    from vxlab.experiments.store import Store
    from vxlab.experiments.sweep import grid, sweep
    from vxlab.experiments.sweep_file import read_sweep
    from vxlab.experiments.tasks import Task, load_task
    from vxlab.views.live_run import live_run
    from vxlab.views.rank_explorer import explore_rank
    from vxlab.views.subspace_explorer import explore_subspaces
    from vxlab.views.sweep_explorer import explore_sweep
    from vxlab.views.update_explorer import explore_updates

ELoRA = VeRA
"""VeRA's first name."""

_LAZY = {
    "AdapterCallback": "vxlab.experiments.own_loops",
    "Candidate": "vxlab.experiments.fair",
    "Comparison": "vxlab.experiments.comparison",
    "FairSweep": "vxlab.experiments.fair",
    "RunRecord": "vxlab.experiments.record",
    "RunSpec": "vxlab.experiments.spec",
    "Store": "vxlab.experiments.store",
    "Task": "vxlab.experiments.tasks",
    "compare": "vxlab.experiments.compare",
    "explore_rank": "vxlab.views.rank_explorer",
    "explore_subspaces": "vxlab.views.subspace_explorer",
    "explore_sweep": "vxlab.views.sweep_explorer",
    "explore_updates": "vxlab.views.update_explorer",
    "fair_recipe": "vxlab.experiments.fair_recipes",
    "grid": "vxlab.experiments.sweep",
    "live_run": "vxlab.views.live_run",
    "load_model": "vxlab.experiments.models",
    "load_task": "vxlab.experiments.tasks",
    "read_sweep": "vxlab.experiments.sweep_file",
    "recipe": "vxlab.experiments.recipes",
    "run": "vxlab.experiments.run",
    "save_adapters_only": "vxlab.experiments.own_loops",
    "sweep": "vxlab.experiments.sweep",
}

__all__ = [
    "PEFT",
    "AdaptedLinear",
    "AdapterCallback",
    "BitFit",
    "Candidate",
    "Comparison",
    "ELoRA",
    "FairSweep",
    "Full",
    "Head",
    "LiDB",
    "LoRA",
    "LoRAXS",
    "Probe",
    "RunRecord",
    "RunSpec",
    "Store",
    "Task",
    "VeRA",
    "VxlabError",
    "__version__",
    "adapted_layers",
    "adapted_linear",
    "attach",
    "compare",
    "detach",
    "explore_rank",
    "explore_subspaces",
    "explore_sweep",
    "explore_updates",
    "fair_recipe",
    "grid",
    "live_run",
    "load_adapter",
    "load_model",
    "load_task",
    "merge",
    "method_from_name",
    "read_sweep",
    "recipe",
    "register",
    "resolve_targets",
    "run",
    "save_adapter",
    "save_adapters_only",
    "sweep",
    "trainable_parameters",
    "unmerge",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'vxlab' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__


if "VXLAB_IMPORT" in os.environ:  # last, for what it imports imports vxlab
    importlib.import_module("vxlab.experiments.own_methods").import_passed_on()
