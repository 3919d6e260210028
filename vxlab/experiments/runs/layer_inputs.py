"""What the layers of a model see on real texts: the tokens on which updates are compared."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.errors import VxlabError
from vxlab.experiments.models import encode_texts, load_tokenizer

BATCH, _LONGEST = 16, 128
"""Texts at a time, and tokens of a text: longer ones are cut."""


@torch.no_grad()
def layer_inputs(
    model: nn.Module, model_name: str, layers: Sequence[str], texts: Sequence[Any], *, tokens: int = 400
) -> dict[str, Tensor]:
    """Return what layers of a model are given on some texts, ``(tokens, in)`` in float64, by layer; no padding.

    Args:
        model: in evaluation mode, on the CPU.
        model_name: whose tokenizer to use.
        layers: dotted names of linear layers.
        texts: strings, or pairs of strings.
        tokens: so many rows at most, the first ones.

    Raises:
        VxlabError: there is no text.
    """
    if not texts:
        raise VxlabError("texts is empty; give a few dozen sentences of the task")
    tokenizer = load_tokenizer(model_name)
    gathered: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    found = 0
    for start in range(0, len(texts), BATCH):
        if found >= tokens:
            break
        batch = encode_texts(tokenizer, texts[start : start + BATCH], _LONGEST)
        for layer, seen in _seen(model, batch, layers).items():
            gathered[layer].append(seen)
        found += int(batch["attention_mask"].sum())
    return {layer: torch.cat(seen)[:tokens].double() for layer, seen in gathered.items()}


def _seen(model: nn.Module, batch: Mapping[str, Tensor], layers: Sequence[str]) -> dict[str, Tensor]:
    """Return the inputs of each layer in one forward pass, tokens of all texts below one another."""
    inside = batch["attention_mask"].bool()
    seen: dict[str, Tensor] = {}

    def keep(layer: str) -> Any:
        return lambda _, given: seen.update({layer: given[0][inside]})

    hooks = [model.get_submodule(layer).register_forward_pre_hook(keep(layer)) for layer in layers]
    try:
        model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    return seen
