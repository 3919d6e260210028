"""vxlab: which adapter, at which rank, on which layers, is worth its parameters, and why?

Importing vxlab loads torch and the adapters. What needs transformers, plotly or Jupyter loads when first used.
The words that it uses are in docs/glossary.md.
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
from vxlab.lazy_names import offer_lazily

if TYPE_CHECKING:
    from vxlab import analysis
    from vxlab.experiments.models.load import load_model
    from vxlab.experiments.record import RunRecord
    from vxlab.experiments.runs.one_run import run
    from vxlab.experiments.runs.own_loops import AdapterCallback, save_adapters_only
    from vxlab.experiments.spec import RunSpec
    from vxlab.experiments.store.store import Store
    from vxlab.experiments.sweeps.comparison import Comparison
    from vxlab.experiments.sweeps.fair_recipes import fair_recipe
    from vxlab.experiments.sweeps.fair_stages import compare
    from vxlab.experiments.sweeps.file import read_sweep
    from vxlab.experiments.sweeps.grid import grid
    from vxlab.experiments.sweeps.many_runs import sweep
    from vxlab.experiments.sweeps.protocol import Candidate, FairSweep
    from vxlab.experiments.sweeps.recipes import recipe
    from vxlab.experiments.tasks.task import Task, load_task
    from vxlab.views.explorers.live.faces import live_run
    from vxlab.views.explorers.rank.explorer import explore_rank
    from vxlab.views.explorers.subspaces.explorer import explore_subspaces
    from vxlab.views.explorers.sweep.faces import explore_sweep
    from vxlab.views.explorers.updates.explorer import explore_updates

ELoRA = VeRA
"""VeRA's first name."""

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
    "analysis",
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

__getattr__, __dir__ = offer_lazily(__name__, __file__)

if "VXLAB_IMPORT" in os.environ:  # last, for what it imports imports vxlab
    importlib.import_module("vxlab.adapters.methods.imports").import_passed_on()
