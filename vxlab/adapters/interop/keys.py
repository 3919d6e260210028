"""The names that tensors have in an adapter's file of the peft library."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vxlab.errors import VxlabError

ROOT = "base_model."
"""Before everything: what peft wraps a model in."""
MODEL = "base_model.model."
"""Before the dotted name of a module of the base model."""

_AS_WRAPPED = re.compile(r"\.(?:base_layer|modules_to_save(?:\.default)?)\.")
"""What peft's wrappers add within the name of a parameter of the base."""
_OTHER_PREFIXES = {
    "ADALORA": "lora_",
    "LOHA": "hada_",
    "LOKR": "lokr_",
    "VERA": "vera_lambda_",
    "PVERA": "pvera_lambda_",
}
"""Of the names of a method's own tensors where it is not the method's own name in lower case."""


def own_names(peft_type: str) -> str:
    """Return a regular expression for the names that a method's own tensors have within a layer.

    >>> own_names("LOHA")
    'hada_[^.]*(\\\\..+)?'
    """
    if peft_type == "LORA":  # said exactly, for modules of a base may be called lora_something themselves
        return r"lora_(?:A|B|embedding_A|embedding_B)(?:\.weight|\.bias)?|lora_magnitude_vector(?:\.weight)?"
    prefix = _OTHER_PREFIXES.get(peft_type, f"{peft_type.lower()}_")
    return rf"{re.escape(prefix)}[^.]*(\..+)?"


class Sorted(NamedTuple):
    """An adapter's tensors by whose they are."""

    layers: dict[str, dict[str, Tensor]]
    """each layer's, by its dotted name in the base model and their names within it"""
    shared: dict[str, Tensor]
    """what all layers share, by its name"""
    others: dict[str, Tensor]
    """the base model's own (saved modules, biases), by dotted name there"""
    stored: dict[str, Tensor]
    """all but ``others``, by the names in the file"""


def sort_tensors(tensors: Mapping[str, Tensor], names: str) -> Sorted:
    """Sort an adapter's tensors by whose they are.

    Args:
        tensors: by the names in the file.
        names: a regular expression for those of the method's own tensors within a layer.

    Raises:
        VxlabError: two are of one parameter of the base and differ.
    """
    found = Sorted({}, {}, {}, {})
    own = re.compile(rf"(?P<layer>.+)\.(?P<name>{names})")
    for key, tensor in tensors.items():
        inside = key.removeprefix(MODEL)
        if inside == key:
            found.shared[key.removeprefix(ROOT)] = tensor
            found.stored[key] = tensor
        elif match := own.fullmatch(inside):
            found.layers.setdefault(match["layer"], {})[match["name"]] = tensor
            found.stored[key] = tensor
        elif ".original_module." not in inside:  # the base's own again, which biases of saved modules bring along
            _add(found.others, _AS_WRAPPED.sub(".", inside), tensor)
    return found


def _add(others: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    if name in others and not torch.equal(others[name], tensor):
        raise VxlabError(f"the adapter holds `{name}` twice, with two values; save it again")
    others[name] = tensor
