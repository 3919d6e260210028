"""What an adapter's folder holds, of whatever kind it is, without a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vxlab.adapters.core import Family, Method, Shape
from vxlab.adapters.methods import method_from_name
from vxlab.errors import VxlabError


@dataclass(frozen=True)
class SavedAdapter:
    """An adapter in a folder, as it was read: its method, its layers and its tensors.

    The tensors of vxlab's own families have their names here (LoRA's ``A`` and ``B``), whoever wrote them; those of
    other methods the names that the peft library gives them within a layer (``tinylora_P``).
    """

    folder: Path
    kind: str
    """who wrote it: ``vxlab``, ``peft`` or ``lora-xs``"""
    method: str
    """its name, such as ``vera`` or ``peft:dora``"""
    settings: Mapping[str, Any]
    """of the method, as :func:`vxlab.method_from_name` takes them"""
    layers: tuple[str, ...]
    """the adapted layers, by dotted name in the base model"""
    tensors: Mapping[str, Mapping[str, Tensor]]
    """what was trained in each layer, by name"""
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    """what all layers use, where it is stored"""
    frozen: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """what was frozen in each layer, where it is stored"""
    others: Mapping[str, Tensor] = field(default_factory=dict)
    """the task head and whatever else of the base was trained, by dotted name in the base model"""
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    """of a folder of peft's: all that is not ``others``, by the names in the file"""
    scalings: Mapping[str, float] = field(default_factory=dict)
    """of peft's LoRA: the factor before each layer's B·A"""
    base: str | None = None
    """the base model's name or folder, where it is told"""
    config: Mapping[str, Any] = field(default_factory=dict)
    """the settings file as it is"""

    def make_method(self) -> Method:
        """Return the method.

        Raises:
            VxlabError: a setting is out of its range, or the method is not known here.
        """
        try:
            return method_from_name(self.method, **self.settings)
        except VxlabError as error:
            raise VxlabError(f"the adapter in {self.folder} cannot be used: {error}") from error

    @property
    def ranks(self) -> dict[str, int]:
        """The rank of each layer's update, where it has one by construction."""
        own = {name: _rank_of(tensors) for name, tensors in self.tensors.items()}
        return {name: rank for name, rank in own.items() if rank}

    @property
    def parameters(self) -> int:
        """How many numbers of adapters it holds, stored projections and bases apart."""
        return sum(each.numel() for tensors in self.tensors.values() for each in tensors.values())

    @property
    def other_parameters(self) -> int:
        """How many numbers of the task head and of other modules of the base it holds."""
        return sum(each.numel() for each in self.others.values())

    def factors(self, shapes: Mapping[str, Shape] | None = None) -> dict[str, tuple[Tensor, Tensor]]:
        """Return left ``(out, r)`` and right ``(r, in)`` of every layer, whose product is its update ΔW, in float32.

        Args:
            shapes: (out, in) of the layers, by dotted name; VeRA's shared matrices are cut to them, a frozen A and
                random bases drawn to them, and no file says what they are. Other methods do without.

        Raises:
            VxlabError: the update is no product of two factors that the folder holds: another method, or one whose
                frozen bases come from the base's weights; or shapes are needed.
        """
        # Of the adapted layers alone: VeRA's matrices are as large as the largest of these.
        own = {name: shapes[name] for name in self.layers if name in shapes} if shapes else {}
        return {name: self._factors_of(name, own) for name in self.layers}

    def _factors_of(self, layer: str, shapes: Mapping[str, Shape]) -> tuple[Tensor, Tensor]:
        tensors = {name: each.float() for name, each in self.tensors[layer].items()}
        if self.scalings and tensors.keys() == {"A", "B"}:
            return tensors["B"] * self.scalings[layer], tensors["A"]
        family = self.make_method()
        if not isinstance(family, Family):
            raise VxlabError(f"{self.folder} holds {family}, whose update is no product of two stored factors")
        if self.method == "vera" and not self.frozen and len(shapes) < len(self.layers):
            raise VxlabError(
                f"{self.folder} holds VeRA, whose matrices are cut to each layer's size, which no file says; give "
                "shapes={layer: (out, in)} of all that it adapts"
            )
        method = family.at(layer)
        alike = [shape for name, shape in shapes.items() if family.at(name) == method]  # whose rank is the same
        shared = self.shared or (method.shared(alike) if alike else {})
        known = layer in shapes
        frozen = self.frozen.get(layer) or (_drawn_to_size(method, layer, shapes[layer]) if known else {})
        whole = {**shared, **frozen, **tensors}
        shape = shapes[layer] if known else _shape_of(whole)
        try:
            left, right = method.factors({name: each.float() for name, each in whole.items()}, shape)
        except KeyError as error:
            sizes = "" if known else ", or drawn to its layers' sizes, which shapes={layer: (out, in)} says"
            raise VxlabError(
                f"{self.folder} holds {method}, whose {error} is made of the base's weights{sizes}; load it onto its "
                "base"
            ) from error
        return left, right


def _drawn_to_size(method: Family, layer: str, shape: Shape) -> Mapping[str, Tensor]:
    """Return a layer's frozen tensors where a seed and its size make them; nothing where it takes its weight."""
    try:
        return method.frozen({layer: torch.empty(shape, device="meta")})[layer]
    except (VxlabError, RuntimeError):  # values are asked for that a shape alone does not have
        return {}


def _rank_of(tensors: Mapping[str, Tensor]) -> int | None:
    for name, side in (("A", 0), ("lora_A.weight", 0), ("B", 1), ("R", 0), ("lambda_d", 0)):
        if name in tensors and tensors[name].ndim > side:
            return tensors[name].shape[side]
    return None


def _shape_of(tensors: Mapping[str, Tensor]) -> Shape:
    """Return (out, in) of a layer whose tensors show both; 0 for one that they do not."""
    left, right = tensors.get("left_basis", tensors.get("B")), tensors.get("right_basis", tensors.get("A"))
    return (0 if left is None else left.shape[0], 0 if right is None else right.shape[-1])
