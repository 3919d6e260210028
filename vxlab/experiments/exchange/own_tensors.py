"""The layers of an adapter that vxlab saved, of its two files: what is trained on each, and how large its update is."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vxlab.adapters import Family, LiDB, LoRA, VeRA, method_from_name
from vxlab.adapters.core import Shape
from vxlab.adapters.saving import group, read_tensors
from vxlab.analysis import Update
from vxlab.errors import VxlabError
from vxlab.experiments import rank_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["layer", "out", "in", "rank", "trained", "norm"]
_SEVERAL = "its layers are of several shapes, which the files do not tell apart; name the base to have each"


def read_own_layers(
    folder: Path, saved: Mapping[str, Any], shapes: Mapping[str, Shape]
) -> "tuple[pd.DataFrame, int, str]":
    """Return a row a layer, how many numbers there are beside the adapter's, and a note where rows lack something.

    Args:
        folder: of the adapter.
        saved: its settings.
        shapes: (out, in) of the base's layers, where they are known.

    Raises:
        VxlabError: the tensors are damaged.
    """
    import pandas as pd

    tensors = read_tensors(folder, saved)
    stacked = {key: tensor for key, tensor in tensors.items() if _is_stacked(key, tensor)}
    method, layers = _method(saved), saved["layers"]
    by_layer = _unstack(stacked, layers, method, shapes)
    known = {name: shape for name, own in by_layer.items() if (shape := shapes.get(name) or _shape(own, method))}
    frozen = _draw(method, known) if known.keys() == set(layers) else {}
    rank = rank_of({"name": saved["method"], **saved["settings"]})
    rows = []
    for name, own in by_layer.items():
        shape = known.get(name)
        norm = _norm(method, frozen.get(name), own, shape)
        rows.append((name, *(shape or (math.nan, math.nan)), rank, _count(own), norm))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.attrs["held"] = sum(tensor.numel() for tensor in stacked.values())
    beside = sum(tensor.numel() for key, tensor in tensors.items() if key not in stacked)
    return table, beside, _SEVERAL if stacked and not any(by_layer.values()) else ""


def _is_stacked(key: str, tensor: Tensor) -> bool:
    """Say whether a tensor holds a row for each of several layers: its key ends in their shape."""
    return key.rpartition(".")[2] == "x".join(map(str, tensor.shape[1:]))


def _method(saved: Mapping[str, Any]) -> Family | None:
    try:
        method = method_from_name(saved["method"], **saved["settings"])
    except (VxlabError, TypeError, ValueError):  # of a method of one's own that is not registered here
        return None
    return method if isinstance(method, Family) else None


def _unstack(
    stacked: Mapping[str, Tensor], layers: list[str], method: Family | None, shapes: Mapping[str, Shape]
) -> dict[str, dict[str, Tensor]]:
    """Return each layer's tensors by name; none for any layer where it is not known which belong to which."""
    names: dict[str, list[str]] = {}
    for key in stacked:
        names.setdefault(key.rpartition(".")[0], []).append(key)
    if all(len(keys) == 1 and len(stacked[keys[0]]) == len(layers) for keys in names.values()):
        return {layer: {name: stacked[keys[0]][i] for name, keys in names.items()} for i, layer in enumerate(layers)}
    if method is None or not set(layers) <= shapes.keys():
        return {layer: {} for layer in layers}
    return _dealt(stacked, layers, method, shapes)


def _dealt(
    stacked: Mapping[str, Tensor], layers: list[str], method: Family, shapes: Mapping[str, Shape]
) -> dict[str, dict[str, Tensor]]:
    """Return each layer's tensors, taken in turn from those of the shapes that the method has on it."""
    rows: dict[str, Iterator[Tensor]] = {key: iter(tensor) for key, tensor in stacked.items()}
    found: dict[str, dict[str, Tensor]] = {}
    with torch.random.fork_rng(devices=[]):
        for layer in layers:
            keys = {name: group(name, tensor) for name, tensor in method.trained(shapes[layer]).items()}
            found[layer] = {
                name: tensor
                for name, key in keys.items()
                if (tensor := next(rows.get(key, iter(())), None)) is not None
            }
    return found


def _shape(own: Mapping[str, Tensor], method: Family | None) -> Shape | None:
    """Return (out, in) of a layer whose tensors tell it."""
    if isinstance(method, LoRA) and own.keys() >= {"A", "B"}:
        return own["B"].shape[0], own["A"].shape[1]
    return None


def _draw(method: Family | None, shapes: Mapping[str, Shape]) -> dict[str, dict[str, Tensor]]:
    """Return each layer's frozen tensors where they follow from shapes and a seed; none where they take weights."""
    if not isinstance(method, LoRA | VeRA | LiDB):
        return {}
    shared = method.shared(list(shapes.values()))
    own = method.frozen({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    return {name: {**shared, **tensors} for name, tensors in own.items()}


def _count(own: Mapping[str, Tensor]) -> float:
    return sum(tensor.numel() for tensor in own.values()) if own else math.nan


def _norm(
    method: Family | None, frozen: Mapping[str, Tensor] | None, own: Mapping[str, Tensor], shape: Shape | None
) -> float:
    """Return ‖ΔW‖_F where the files alone tell it."""
    if method is None or frozen is None or shape is None or not own:
        return math.nan
    factors = method.factors({name: tensor.double() for name, tensor in {**frozen, **own}.items()}, shape)
    return Update(*factors).norm() if all(bool(factor.isfinite().all()) for factor in factors) else math.nan
