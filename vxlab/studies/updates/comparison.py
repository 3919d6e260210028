"""Two models' weights beside each other, layer by layer, without a run: what fine-tuning changed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from vxlab.adapters import adapter_updates, resolve_targets, updated_layers
from vxlab.adapters.interop import read_saved
from vxlab.analysis import FullUpdate, Update
from vxlab.errors import VxlabError
from vxlab.experiments.imports import is_adapter_folder, updates_from
from vxlab.experiments.models import ModelWeights, open_weights
from vxlab.progress import progress_bar
from vxlab.studies.updates.table import TrainedLayer, UpdateTables, describe_layers
from vxlab.words import list_in_words, number_of

_OUTSIDE = ["tensor", "what", "relative_norm"]
_SHOWN = [
    "layer", "block", "role", "out", "in", "relative_norm", "norm", "rank", "rank_50", "rank_90", "stable_rank",
    "effective_rank", "top", "weight_top", "intruders", "leading", "chance",
]  # fmt: skip


@dataclass(frozen=True)
class WeightComparison:
    """What a model's weights are like beside those it started from."""

    name: str
    """of the tuned model or the adapter"""
    base: str
    """of the model that it is held against"""
    layers: pd.DataFrame = field(repr=False)
    """one row a layer: ``layer, block, role, out, in``; ``relative_norm`` = ‖ΔW‖_F / ‖W‖_F, ``norm`` = ‖ΔW‖_F; of ΔW
    the ``rank`` (singular values above those that storing W′ makes by its rounding), ``rank_50`` and ``rank_90``
    (singular values that hold so many per cent of ‖ΔW‖²_F), ``stable_rank``, ``effective_rank`` and largest singular
    value ``top``; W's, ``weight_top``; and ``intruders`` among the ``leading`` first directions of W + ΔW, with the
    mean similarity of a random direction, ``chance``"""
    outside: pd.DataFrame = field(repr=False)
    """what differs in the tensors that are in no row of ``layers``: ``tensor``, ``what`` in words, and
    ``relative_norm`` where both have it in one shape, else NaN"""
    tables: UpdateTables = field(repr=False)
    """the same as the update explorer takes it"""
    notes: tuple[str, ...] = ()
    """what to know before reading the numbers, in sentences"""

    def __str__(self) -> str:
        table = self.layers.to_string(index=False, float_format=lambda x: f"{x:.4g}")
        return "\n".join([f"{self.name} beside {self.base}", table, *self.notes])

    def _repr_html_(self) -> str:
        from html import escape

        told = "".join(f"<p>{escape(note)}</p>" for note in (f"{self.name} beside {self.base}.", *self.notes))
        return told + self.layers.to_html(index=False, float_format=lambda x: f"{x:.4g}")


def compare_weights(
    base: str | Path | nn.Module, tuned: str | Path | nn.Module, targets: str | Sequence[str] = "all-linear"
) -> WeightComparison:
    """Compare a fine-tuned model's weights with those it started from, layer by layer.

    ΔW = W′ - W in float64, one layer at a time: of folders the safetensors files are read and no model is built, so
    that memory holds a few copies of the largest layer. What differs outside the layers that are compared (biases,
    norms, embeddings, the head) is told in :attr:`WeightComparison.outside` and in a note.

    Args:
        base: a model, or its packaged name, hub id or folder.
        tuned: another one; or the base with adapters on it, vxlab's or peft's; or an adapter's folder, as
            :func:`vxlab.updates_from` reads it.
        targets: the layers to compare, as :func:`vxlab.attach` takes them; of an adapter those that it has.

    Raises:
        VxlabError: the two are of other architectures or shapes, one lacks a layer, the base carries adapters, or a
            weight holds NaN or infinite values.

    >>> base, tuned = (torch.nn.ModuleList([torch.nn.Linear(4, 3)]) for _ in range(2))
    >>> _ = tuned.load_state_dict(base.state_dict())
    >>> found = compare_weights(base, tuned)
    >>> found.layers[["layer", "relative_norm", "rank"]].to_numpy().tolist()
    [['0', 0.0, 0]]
    """
    if isinstance(base, nn.Module) and updated_layers(base):
        raise VxlabError("base carries adapters, so it is not what the other started from; call vxlab.detach(base)")
    before = open_weights(base, "base")
    if isinstance(tuned, str | Path) and is_adapter_folder(tuned):
        after, updates = _with_adapter(before, Path(tuned).expanduser()), updates_from(tuned, base)
    else:
        after = open_weights(tuned, "tuned")
        updates = adapter_updates(after.skeleton) if isinstance(tuned, nn.Module) else {}
    return _compared(before, after, {after.plain_name(layer): each for layer, each in updates.items()}, targets)


def _with_adapter(before: ModelWeights, folder: Path) -> ModelWeights:
    """Return a base with what an adapter's folder holds beside its updates: the head, and other modules."""
    others = read_saved(folder, before.shapes()).others
    own = {before.plain_name(name): partial(_given, tensor) for name, tensor in others.items()}
    return replace(before, name=str(folder), tensors={**before.tensors, **own})


def _given(tensor: Tensor) -> Tensor:
    return tensor


def _compared(
    before: ModelWeights, after: ModelWeights, updates: Mapping[str, Update], targets: str | Sequence[str]
) -> WeightComparison:
    layers = {before.plain_name(name): module for name, module in resolve_targets(before.skeleton, targets).items()}
    if updates:
        layers = _own_layers(before, layers, updates, targets)
    else:
        _require_alike(before, after, layers, targets)
    types: set[tuple[torch.dtype, torch.dtype]] = set()
    rows = _layers(before, after, layers, updates, types)
    names = [before.prefix + layer for layer in layers]
    tables = describe_layers(rows, names, f"{after.name} beside {before.name}")
    outside = _outside(before, after, layers, updates)
    changed = bool((tables.layers["norm"] > 0).any())
    notes = [*(_on_precision(types) if changed else ()), *_on_layers(tables.layers), _on_outside(outside)]
    return WeightComparison(after.name, before.name, tables.layers[_SHOWN], outside, tables, tuple(notes))


def _own_layers(
    before: ModelWeights, layers: Mapping[str, nn.Module], updates: Mapping[str, Update], targets: str | Sequence[str]
) -> dict[str, nn.Module]:
    """Return the target layers that an adapter has."""
    lost = [layer for layer in updates if not before.has_layer(layer)]
    if lost:
        raise VxlabError(f"the adapter is of another base: it adapts `{lost[0]}`, which {before.name} does not have")
    own = {layer: module for layer, module in layers.items() if layer in updates}
    if not own:
        raise VxlabError(
            f"targets={targets!r} names none of the adapter's {number_of(len(updates), 'layer')}, such as "
            f"`{next(iter(updates))}`; give its own"
        )
    return own


def _require_alike(
    before: ModelWeights, after: ModelWeights, layers: Mapping[str, nn.Module], targets: str | Sequence[str]
) -> None:
    if before.kind and after.kind and before.kind != after.kind:
        raise VxlabError(
            f"{before.name} is a {before.kind} and {after.name} a {after.kind}; compare a model with the one that it "
            "was fine-tuned from"
        )
    theirs = {after.plain_name(name) for name in resolve_targets(after.skeleton, targets)}
    if apart := sorted(theirs ^ layers.keys()):
        only, lacking = (before, after) if apart[0] in layers else (after, before)
        raise VxlabError(
            f"{only.name} has a layer `{apart[0]}` that {lacking.name} lacks, and {len(apart) - 1} more are apart; "
            "compare a model with the one that it was fine-tuned from"
        )


def _layers(
    before: ModelWeights,
    after: ModelWeights,
    layers: Mapping[str, nn.Module],
    updates: Mapping[str, Update],
    types: set[tuple[torch.dtype, torch.dtype]],
) -> Iterator[tuple[str, TrainedLayer]]:
    """Yield the layers one at a time; fill in the precisions that were met."""
    for layer, module in layers.items():
        W, moved = before.weight(layer, module), after.weight(layer, module)
        if W.shape != moved.shape:
            raise VxlabError(
                f"`{layer}` is {tuple(W.shape)} in {before.name} and {tuple(moved.shape)} in {after.name}; compare a "
                "model with the one that it was fine-tuned from"
            )
        types.add((W.dtype, moved.dtype))
        eps = max(torch.finfo(each.dtype).eps for each in (W, moved))
        W, moved = W.to("cpu", torch.float64), moved.to("cpu", torch.float64)
        yield before.prefix + layer, TrainedLayer(W, _update(W, moved, updates.get(layer), eps), {})


def _update(W: Tensor, moved: Tensor, own: Update | None, eps: float) -> Update:
    """Return ΔW by the adapter's own factors where the weight under it is the base's, else as a matrix."""
    if own is not None and torch.equal(W, moved):
        return own
    return _StoredUpdate(moved - W if own is None else moved - W + own.to_matrix(), moved, eps)


class _StoredUpdate(FullUpdate):
    """ΔW = W′ - W of stored weights: a rank-r update that was added and stored is of full rank by its rounding alone.

    Rounding moves each entry of W′ by up to eps/2 of it, by chance, so that the largest singular value of what it adds
    is about eps/√12·‖W′‖_F·(1/√out + 1/√in); up to 1.5/2 of what is taken here, on trained weights in three precisions.
    """

    def __init__(self, matrix: Tensor, stored: Tensor, eps: float) -> None:
        super().__init__(matrix)
        self._of_storing = eps * float(stored.norm()) * sum(1 / math.sqrt(side) for side in stored.shape)

    def rounding(self) -> float:
        return max(super().rounding(), self._of_storing)


def _outside(
    before: ModelWeights, after: ModelWeights, layers: Mapping[str, nn.Module], updates: Mapping[str, Update]
) -> pd.DataFrame:
    names = dict.fromkeys([*before.names(), *after.names()]).keys() - {f"{layer}.weight" for layer in layers}
    rows = []
    with progress_bar(len(names), "what else differs", "tensor", delay=2.0) as bar:
        for name in sorted(names):
            rows += [(before.full_name(name), *told) for told in _apart(before, after, name)]
            bar.update()
    for layer in (each for each in updates if each not in layers):
        size = updates[layer].relative_norm(before.weight(layer, before.module(layer)))
        rows.append((before.full_name(f"{layer}.weight"), "changed by the adapter, and of no target", size))
    table = pd.DataFrame(rows, columns=_OUTSIDE).astype({"relative_norm": float})
    return table.sort_values(
        ["relative_norm", "tensor"], ascending=[False, True], na_position="first", ignore_index=True
    )


def _apart(before: ModelWeights, after: ModelWeights, name: str) -> Iterator[tuple[str, float]]:
    """Yield how a tensor differs between two models, if it does."""
    for one, other in ((before, after), (after, before)):
        if name not in other.names():
            if name not in one.tensors or one.tensor(name).is_floating_point():  # an index need not be saved
                yield f"only in {one.name}", float("nan")
            return
    a, b = (side.cpu() for side in _both(before, after, name))
    if a.shape != b.shape:
        yield f"{tuple(a.shape)} in {before.name}, {tuple(b.shape)} in {after.name}", float("nan")
        return
    wide = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    a, b = a.to(wide), b.to(wide)
    if not torch.equal(a, b):
        size = float(torch.linalg.vector_norm(a, dtype=torch.float64))
        moved = float(torch.linalg.vector_norm(b - a, dtype=torch.float64))
        yield "differs", moved / size if size else float("inf")


def _both(before: ModelWeights, after: ModelWeights, name: str) -> tuple[Tensor, Tensor]:
    if name in before.tensors and name in after.tensors:
        return before.tensor(name), after.tensor(name)
    layer = name.removesuffix(".weight")  # quantised in one of them, or under an adapter
    return before.weight(layer, before.module(layer)), after.weight(layer, after.module(layer))


def _on_precision(types: set[tuple[torch.dtype, torch.dtype]]) -> Iterator[str]:
    for one, other in sorted(types, key=str):
        before, after = (str(each).removeprefix("torch.") for each in (one, other))
        eps = max(torch.finfo(each).eps for each in (one, other)) / 2
        if one == other:
            if eps > torch.finfo(torch.float32).eps:
                yield (
                    f"Both are in {before}: if the other was computed finer and cast to it, as a merged adapter is, ΔW "
                    f"holds that rounding, up to {eps:.2g} of each entry of W, which is no fine-tuning."
                )
        elif torch.finfo(other).eps > torch.finfo(one).eps:
            yield (
                f"The base is in {before} and the other in {after}: ΔW holds the rounding to that, up to {eps:.2g} of "
                "each entry of W, which is no fine-tuning."
            )
        else:
            yield (
                f"The base is in {before} and the other in {after}: if that was tuned from finer weights than these, "
                f"ΔW holds their rounding, up to {eps:.2g} of each entry of W, which is no fine-tuning."
            )


def _on_layers(layers: pd.DataFrame) -> Iterator[str]:
    still = int((layers["norm"] == 0).sum())
    if still:
        yield f"{number_of(still, 'layer')} of {len(layers)} did not change at all."


def _on_outside(outside: pd.DataFrame) -> str:
    if outside.empty:
        return "Nothing differs outside these layers."
    first = [f"{row.tensor} ({row.what}{_share(row.relative_norm)})" for row in outside.head(4).itertuples()]
    more = len(outside) - len(first)
    told = list_in_words([*first, f"{more} more"]) if more else list_in_words(first)
    return f"Outside these layers {number_of(len(outside), 'tensor')} differ, and are in no row: {told}; see outside."


def _share(relative_norm: Any) -> str:
    if math.isinf(relative_norm):
        return ", and was 0"
    return "" if math.isnan(relative_norm) else f", ‖Δ‖ is {relative_norm:.2%} of its norm"
