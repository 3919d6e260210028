"""What the layers of a model see on real rows: the tokens on which updates are compared."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.errors import VxlabError


@torch.no_grad()
def layer_inputs(
    model: nn.Module, layers: Sequence[str], batches: Iterable[Mapping[str, Tensor]], *, tokens: int = 400
) -> dict[str, Tensor]:
    """Return what layers of a model are given on some rows, ``(tokens, in)`` in float64, by layer; no padding.

    Of images every position that a layer is given counts as a token: patches, and the class token where there is one.

    Args:
        model: in evaluation mode, on the CPU.
        layers: dotted names of linear layers.
        batches: of :func:`vxlab.experiments.runs.sample_batches`.
        tokens: so many rows at most, the first ones.

    Raises:
        VxlabError: there is no batch.
    """
    gathered: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    fewest = 0
    for batch in batches:
        for layer, seen in _seen(model, batch, layers).items():
            gathered[layer].append(seen)
        fewest = min(sum(map(len, each)) for each in gathered.values())
        if fewest >= tokens:
            break
    if not fewest:
        raise VxlabError("batches is empty; give those of a few dozen rows of the task, from sample_batches")
    return {layer: torch.cat(seen)[:tokens].double() for layer, seen in gathered.items()}


def _seen(model: nn.Module, batch: Mapping[str, Tensor], layers: Sequence[str]) -> dict[str, Tensor]:
    """Return the inputs of each layer in one forward pass, tokens of all rows below one another."""
    seen: dict[str, Tensor] = {}

    def keep(layer: str) -> Any:
        return lambda _, given: seen.update({layer: _unpadded(given[0], batch.get("attention_mask"))})

    hooks = [model.get_submodule(layer).register_forward_pre_hook(keep(layer)) for layer in layers]
    try:
        model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _unpadded(states: Tensor, mask: Tensor | None) -> Tensor:
    return states.flatten(0, -2) if mask is None else states[mask.bool()]
