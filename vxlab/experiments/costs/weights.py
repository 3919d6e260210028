"""What a model's own weights take in memory, by what holds them."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor, nn

from vxlab.adapters import adapted_layers
from vxlab.adapters.core import packed_tensors, quantisation_of
from vxlab.adapters.placement import base_parameters
from vxlab.experiments.costs.allocations import storage_id


class WeightMemory(NamedTuple):
    """Bytes of a model's own parameters and buffers, adapters left out."""

    packed: int
    """the numbers of quantised weights"""
    scales: int
    """what turns these into numbers: scales, their own scales, and tables of values"""
    embeddings: int
    """of tokens and positions, which no scheme quantises; an output layer that shares theirs is among them"""
    rest: int
    """in floating point: weights that are not quantised, biases, norms, the head, buffers"""

    @property
    def total(self) -> int:
        return sum(self)


def weight_memory(model: nn.Module) -> WeightMemory:
    """Measure what a model's own weights take, by what holds them; what two names share counts once.

    Args:
        model: with adapters or without, quantised or not.
    """
    layers = [module for module in model.modules() if quantisation_of(module)]
    packed = {id(layer.get_parameter("weight")) for layer in layers}
    plain = [each for each in base_parameters(model).values() if id(each) not in packed]
    tables = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    parts = [packed_tensors(layer) for layer in layers]
    return WeightMemory(
        bytes_of(first for first, *_ in parts),
        bytes_of(scale for _, *scales in parts for scale in scales),
        bytes_of(each for each in plain if id(each) in tables),
        bytes_of([*(each for each in plain if id(each) not in tables), *_own_buffers(model)]),
    )


def _own_buffers(model: nn.Module) -> list[Tensor]:
    adapters = {id(tensor) for tensor in adapter_tensors(model)}
    return [buffer for buffer in model.buffers() if id(buffer) not in adapters]


def adapter_tensors(model: nn.Module) -> list[Tensor]:
    """Return what adapters hold: trained, frozen, and shared."""
    layers = adapted_layers(model).values()
    own = [t for layer in layers for t in (*layer.trained_tensors().values(), *layer.frozen_tensors().values())]
    return own + [t for layer in layers for t in layer.shared.buffers()]


def held_tensors(model: nn.Module) -> list[Tensor]:
    """Return everything that a model holds, adapters included, of quantised weights what they consist of."""
    layers = [module for module in model.modules() if quantisation_of(module)]
    packed = {id(layer.get_parameter("weight")) for layer in layers}
    plain = [each for each in model.parameters() if id(each) not in packed]
    return [*plain, *model.buffers(), *(tensor for layer in layers for tensor in packed_tensors(layer))]


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of some tensors' memory, each piece of it once."""
    return sum({storage_id(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}.values())
