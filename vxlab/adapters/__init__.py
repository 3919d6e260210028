"""Adapters on linear layers: families of thin factors, attaching, merging and saving."""

from vxlab.adapters.attach import (
    ParameterCount,
    adapted_layers,
    attach,
    detach,
    merge,
    trainable_parameters,
    unmerge,
)
from vxlab.adapters.checkpoint import load_adapter, save_adapter
from vxlab.adapters.ends import BitFit, Full, Head, Probe
from vxlab.adapters.family import Family, Method
from vxlab.adapters.layer import AdaptedLinear
from vxlab.adapters.lidb import LiDB
from vxlab.adapters.lora import LoRA
from vxlab.adapters.lora_xs import LoRAXS
from vxlab.adapters.methods import METHODS, method_from_name, register
from vxlab.adapters.operation import adapted_linear
from vxlab.adapters.peers import PEFT
from vxlab.adapters.roles import TARGET_SETS
from vxlab.adapters.targets import resolve_targets
from vxlab.adapters.vera import VeRA

__all__ = [
    "METHODS",
    "PEFT",
    "TARGET_SETS",
    "AdaptedLinear",
    "BitFit",
    "Family",
    "Full",
    "Head",
    "LiDB",
    "LoRA",
    "LoRAXS",
    "Method",
    "ParameterCount",
    "Probe",
    "VeRA",
    "adapted_layers",
    "adapted_linear",
    "attach",
    "detach",
    "load_adapter",
    "merge",
    "method_from_name",
    "register",
    "resolve_targets",
    "save_adapter",
    "trainable_parameters",
    "unmerge",
]
