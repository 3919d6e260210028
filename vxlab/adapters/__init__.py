"""Adapters on linear layers: families of thin factors, attaching, merging and saving."""

from vxlab.adapters.attach import attach, detach, merge, unmerge
from vxlab.adapters.core.family import Family, Method
from vxlab.adapters.core.layer import AdaptedLinear
from vxlab.adapters.core.operation import adapted_linear
from vxlab.adapters.core.own_home import METHODS
from vxlab.adapters.core.roles import TARGET_SETS
from vxlab.adapters.families.baselines import BitFit, Full, Head, Probe
from vxlab.adapters.families.lidb import LiDB
from vxlab.adapters.families.lora import LoRA
from vxlab.adapters.families.lora_xs import LoRAXS
from vxlab.adapters.families.vera import VeRA
from vxlab.adapters.load import load_adapter
from vxlab.adapters.methods.by_name import method_from_name, register
from vxlab.adapters.peft.method import PEFT
from vxlab.adapters.placement.attached import ParameterCount, adapted_layers, trainable_parameters
from vxlab.adapters.placement.targets import resolve_targets
from vxlab.adapters.saving.save import save_adapter

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
