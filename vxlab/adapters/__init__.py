"""Adapters on linear layers: families of thin factors, attaching, merging and saving."""

from vxlab.adapters.attach import attach, attach_layers, detach, merge, unmerge
from vxlab.adapters.core import METHODS, TARGET_SETS, AdaptedLinear, Family, Method, adapted_linear
from vxlab.adapters.dequantise import dequantise
from vxlab.adapters.families import Base, BitFit, ELoRA, Full, Head, LiDB, LoRA, LoRAXS, Probe, VeRA
from vxlab.adapters.interop import SavedAdapter, read_saved, write_peft
from vxlab.adapters.load import load_adapter
from vxlab.adapters.methods import method_from_name, register
from vxlab.adapters.peft import PEFT
from vxlab.adapters.placement import ParameterCount, adapted_layers, resolve_targets, trainable_parameters
from vxlab.adapters.requantise import Requantisation, requantise
from vxlab.adapters.saving import save_adapter
from vxlab.adapters.updates import adapter_updates, layer_update, updated_layers, weight_before

__all__ = [
    "METHODS",
    "PEFT",
    "TARGET_SETS",
    "AdaptedLinear",
    "Base",
    "BitFit",
    "ELoRA",
    "Family",
    "Full",
    "Head",
    "LiDB",
    "LoRA",
    "LoRAXS",
    "Method",
    "ParameterCount",
    "Probe",
    "Requantisation",
    "SavedAdapter",
    "VeRA",
    "adapted_layers",
    "adapted_linear",
    "adapter_updates",
    "attach",
    "attach_layers",
    "dequantise",
    "detach",
    "layer_update",
    "load_adapter",
    "merge",
    "method_from_name",
    "read_saved",
    "register",
    "requantise",
    "resolve_targets",
    "save_adapter",
    "trainable_parameters",
    "unmerge",
    "updated_layers",
    "weight_before",
    "write_peft",
]
