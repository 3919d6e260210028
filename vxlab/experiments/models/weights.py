"""A model's weights one at a time, whatever holds them; of a model in memory without what adapters add."""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from vxlab.adapters import updated_layers, weight_before
from vxlab.adapters.core import is_linear, linear_shape, linear_weight, orient, quantisation_of
from vxlab.adapters.placement import bare, persistent_buffers
from vxlab.errors import VxlabError
from vxlab.words import first_line

_PEFT_MODEL = "base_model.model."
_AS_WRAPPED = re.compile(r"\.(?:base_layer|modules_to_save\.[^.]+)\.")
"""What peft's wrappers add within the name of a parameter of the base."""


@dataclass(frozen=True)
class ModelWeights:
    """The tensors of a model by name, none of them read yet.

    Names are without that of the backbone (``bert.``, ``model.``), which a model saved without its head lacks.
    """

    name: str
    """what to call it in sentences"""
    kind: str
    """its architecture, transformers' ``model_type``; "" of a model that is none of transformers'"""
    prefix: str
    """what the names lack"""
    skeleton: nn.Module
    """the model, or its backbone as shapes alone: it knows which layers there are"""
    tensors: Mapping[str, Callable[[], Tensor]] = field(repr=False)
    """each reads one tensor, as it is stored"""
    layers: Mapping[str, Callable[[], Tensor]] = field(repr=False)
    """each reads W ``(out, in)`` of a layer that holds it in another way than in floating point as ``weight``"""

    def tensor(self, name: str) -> Tensor:
        """Read a tensor.

        Raises:
            VxlabError: it holds NaN or infinite values, or its file cannot be read.
        """
        try:
            return self._finite(self.tensors[name](), name)
        except (OSError, SafetensorError) as error:
            raise VxlabError(
                f"{self.name}: `{name}` cannot be read ({first_line(error)}); get the file again"
            ) from error

    def weight(self, layer: str, module: nn.Module) -> Tensor:
        """Read W ``(out, in)`` of a linear layer.

        Args:
            layer: its name.
            module: the layer, or one like it, which says how its weight is laid out.
        """
        if layer in self.layers:
            return self._finite(self.layers[layer](), f"{layer}.weight")
        if not self.has_layer(layer):
            raise VxlabError(f"{self.name}: its files lack `{layer}.weight`, so it is not whole; get the folder again")
        return orient(module, self.tensor(f"{layer}.weight"))

    def has_layer(self, layer: str) -> bool:
        """Say whether there is a weight of this layer."""
        return layer in self.layers or f"{layer}.weight" in self.tensors

    def names(self) -> list[str]:
        """Return the names of all tensors, those that ``layers`` read among them."""
        return list(dict.fromkeys([*self.tensors, *(f"{layer}.weight" for layer in self.layers)]))

    def plain_name(self, name: str) -> str:
        """Return a name without that of the backbone."""
        return name.removeprefix(self.prefix)

    def full_name(self, name: str) -> str:
        """Return a name as a model with a head has it."""
        inside = any(name.partition(".")[0] == child for child, _ in self._backbone().named_children())
        return f"{self.prefix}{name}" if inside else name

    def module(self, layer: str) -> nn.Module:
        """Return a layer of the backbone, with or without values."""
        return self._backbone().get_submodule(layer)

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Return (out, in) of all linear layers, by their names in a model with a head."""
        linear = {name: module for name, module in self.skeleton.named_modules() if is_linear(module)}
        return {self.full_name(self.plain_name(name)): linear_shape(module) for name, module in linear.items()}

    def _backbone(self) -> nn.Module:
        own = getattr(self.skeleton, self.prefix.removesuffix("."), None) if self.prefix else None
        return own if isinstance(own, nn.Module) else self.skeleton

    def _finite(self, tensor: Tensor, name: str) -> Tensor:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise VxlabError(f"{self.name}: `{name}` holds NaN or infinite values, so nothing can be said of it")
        return tensor


def weights_in_memory(model: nn.Module, name: str, without: Container[str] = ()) -> ModelWeights:
    """Return the weights of a model in memory.

    Args:
        model: with adapters on it or without; quantised layers count by what they stand for.
        name: what to call it in sentences.
        without: names of tensors to leave out.
    """
    inside: Any = bare(model)
    prefix = getattr(inside, "base_model_prefix", "")
    start = f"{prefix}." if prefix and isinstance(getattr(inside, prefix, None), nn.Module) else ""
    adapted = updated_layers(inside)
    layers: dict[str, Callable[[], Tensor]] = {
        key: partial(linear_weight, module) for key, module in _packed_layers(inside).items()
    }
    layers |= {key: partial(weight_before, layer) for key, layer in adapted.items()}
    own = {key: tensor for key, tensor in _own_tensors(inside).items() if key.removesuffix(".weight") not in layers}
    return ModelWeights(
        name,
        str(getattr(getattr(inside, "config", None), "model_type", "") or ""),
        start,
        inside,
        {key.removeprefix(start): partial(_given, tensor) for key, tensor in own.items() if key not in without},
        {key.removeprefix(start): read for key, read in layers.items()},
    )


def _given(tensor: Tensor) -> Tensor:
    return tensor


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and kept buffers that a model has without adapters, by the names that it has them under."""
    adapted = [f"{name}." for name in updated_layers(model)]
    packed = [f"{name}." for name, module in model.named_modules() if quantisation_of(module)]
    found = {}
    for name, tensor in {**dict(model.named_parameters()), **persistent_buffers(model)}.items():
        plain = _AS_WRAPPED.sub(".", name.removeprefix(_PEFT_MODEL))
        owner = next((start for start in adapted if plain.startswith(start)), "")
        hidden = any(name.startswith(start) for start in packed) and not name.endswith(".bias")
        if owner and plain.removeprefix(owner) not in ("weight", "bias"):
            continue  # of the adapter
        if not hidden and ".original_module." not in name:
            found[plain] = tensor.detach()
    return found


def _packed_layers(model: nn.Module) -> dict[str, nn.Module]:
    packed = {name: module for name, module in model.named_modules() if quantisation_of(module)}
    return {_AS_WRAPPED.sub(".", f"{name}.".removeprefix(_PEFT_MODEL))[:-1]: each for name, each in packed.items()}
