"""What each method costs on a model at every rank, and how much of the weights their first singular triplets hold."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor, nn

from vxlab.adapters import (
    METHODS,
    TARGET_SETS,
    Family,
    LiDB,
    LoRA,
    LoRAXS,
    Method,
    VeRA,
    method_from_name,
    resolve_targets,
)
from vxlab.adapters.core import Shape, is_own, linear_shape, linear_weight
from vxlab.adapters.placement import head_parameters, require_unattached
from vxlab.checks import require_count
from vxlab.errors import VxlabError
from vxlab.experiments.costs import BYTES
from vxlab.experiments.runs import blocks_and_roles
from vxlab.progress import progress_bar
from vxlab.spectra import singular_values

SIZE_COLUMNS = ["targets", "layers", "family", "rank", "backbone", "head", "share", "bytes"]
FAMILIES = ("LoRA", "VeRA", "LoRA-XS", "LiDB")
"""vxlab's own; families that were registered follow them, see :func:`known_families`."""

_MOST_VERA = 1024
_ENTRY, _SETTINGS = 3, 830
"""Bytes in a saved adapter of each layer's entry beside its name, and of all else that is not a trained number."""
_QUICK = 5e11
"""Multiplications, counted as long·short² a weight, of the decompositions that a few minutes have time for."""
_LAYERS_AT_ONCE = 8

Targets = str | Sequence[str]
TargetSets = Mapping[str, Mapping[str, nn.Module]]
"""A target set's layers, by its name."""


class RankTables(NamedTuple):
    """What is known of a model's adapters before any was trained."""

    sizes: pd.DataFrame
    """one row a target set, method and rank"""
    energies: pd.DataFrame
    """one row a target set, rank, role and block"""
    too_large: tuple[str, ...]
    """target sets that were left out, because their decomposition takes too long"""


def rank_tables(
    model: nn.Module,
    targets: Targets = "query-value",
    ranks: Sequence[int] | None = None,
    further: Mapping[tuple[str, str], Iterable[int]] | None = None,
) -> RankTables:
    """Return what each family costs at each rank, and how much of W its first r triplets hold.

    The families are LoRA, VeRA, LoRA-XS, LiDB and those of your own (:func:`known_families`).

    ``sizes``: ``targets, layers`` (how many), ``family, rank, backbone`` (trained parameters), ``head`` (those of the
    task head), ``share`` (of the backbone's in the whole model's) and ``bytes`` (about those of the saved adapter with
    its head, in float32). LoRA and LoRA-XS go up to the layers' smallest side, VeRA up to 1,024 or the first power of
    two that reaches their largest, LiDB up to its bases' sizes, and one of your own as far as it fits the layers.

    ``energies``: ``targets, rank, role, block, share`` (of ‖W‖²_F in the first r singular triplets, the mean where a
    block has several such layers), ``flat`` (the same if all singular values were equal).

    Args:
        model: without adapters.
        targets: the first target set; the model's other named sets follow.
        ranks: of every method that they fit; None takes powers of two.
        further: ranks to add to those powers, by target set and method.

    Raises:
        VxlabError: the model has adapters, the targets match nothing, or the ranks are no ranks or fit no method.
    """
    require_unattached(model)
    _check(ranks)
    sets, too_large = target_sets(model, targets)
    rows = [row for name in sets for row in _sizes(model, name, sets[name], ranks, further or {})]
    if not rows:
        raise VxlabError(f"ranks={list(ranks or ())}: none fits a method on these layers; choose among 1, 2, 4, ...")
    sizes = pd.DataFrame(rows, columns=SIZE_COLUMNS)
    return RankTables(sizes, _energies(sets, sizes), too_large)


def target_sets(model: nn.Module, targets: Targets) -> tuple[dict[str, dict[str, nn.Module]], tuple[str, ...]]:
    """Return the layers of the given targets and of each named set that has others, and the sets that are too large.

    Raises:
        VxlabError: as :func:`vxlab.resolve_targets`.
    """
    sets = {targets_name(targets): resolve_targets(model, targets)}
    too_large = []
    for name in TARGET_SETS:
        try:
            layers = resolve_targets(model, name)
        except VxlabError:  # the model has no such layers, or they cannot be adapted
            continue
        if name in sets or any(layers.keys() == known.keys() for known in sets.values()):
            continue
        if sum(max(shape) * min(shape) ** 2 for shape in map(linear_shape, layers.values())) > _QUICK:
            too_large.append(name)
        else:
            sets[name] = layers
    return sets, tuple(too_large)


def targets_name(targets: Targets) -> str:
    """Return how the store's table writes targets."""
    return targets if isinstance(targets, str) else ", ".join(targets)


def known_families() -> tuple[str, ...]:
    """Return the families by the name that tables show: vxlab's, then each registered one that a rank alone makes."""
    return (*FAMILIES, *(name for name, cls in METHODS.items() if _is_own_family(cls)))


def _is_own_family(cls: type[Method]) -> bool:
    if not (is_own(cls) and issubclass(cls, Family)):
        return False
    try:
        return bool(method_from_name(cls.name, rank=1))
    except VxlabError:  # it has no such setting, or needs others
        return False


def adapter(family: str, rank: int, layers: Mapping[str, nn.Module]) -> Family:
    """Return a method at a rank, otherwise as it comes; LiDB's bases are as large as the layers allow.

    Raises:
        VxlabError: LiDB's bases are smaller than the rank, or a family of your own refuses it.
    """
    if family == "LiDB":
        out_features, in_features = _smallest(layers)
        usual = LiDB()
        return LiDB(rank, min(usual.aux_out, out_features), min(usual.aux_in, in_features))
    families: Mapping[str, type[Any]] = {"LoRA": LoRA, "VeRA": VeRA, "LoRA-XS": LoRAXS, **METHODS}
    made: Family = families[family](rank=rank)
    return made


def _sizes(
    model: nn.Module,
    name: str,
    layers: Mapping[str, nn.Module],
    ranks: Sequence[int] | None,
    further: Mapping[tuple[str, str], Iterable[int]],
) -> Iterable[dict[str, object]]:
    head = sum(parameter.numel() for parameter in head_parameters(model).values())
    total = sum(parameter.numel() for parameter in model.parameters())
    settings = _SETTINGS + sum(len(layer) + _ENTRY for layer in layers)
    for family in known_families():
        most = _highest(family, [linear_shape(layer) for layer in layers.values()])
        usual = {2**i for i in range(most.bit_length())}
        for rank in sorted(set(ranks) if ranks is not None else usual.union(further.get((name, family), ()))):
            if rank <= most and (backbone := _count(family, rank, model, layers)):
                row = (name, len(layers), family, rank, backbone, head, backbone / total)
                yield dict(zip(SIZE_COLUMNS, (*row, BYTES * (backbone + head) + settings), strict=True))


def _count(family: str, rank: int, model: nn.Module, layers: Mapping[str, nn.Module]) -> int:
    """Return the parameters that train; 0 where a family of a user's own does not go so far."""
    try:
        return adapter(family, rank, layers).count(model, layers)
    except VxlabError:
        if family in FAMILIES:
            raise
        return 0


def _highest(family: str, shapes: Sequence[Shape]) -> int:
    smallest = min(min(shape) for shape in shapes)
    if family == "LiDB":
        return min(smallest, LiDB().aux_out, LiDB().aux_in)
    if family == "VeRA":
        return max(_MOST_VERA, 1 << (max(max(shape) for shape in shapes) - 1).bit_length())
    return smallest


def _smallest(layers: Mapping[str, nn.Module]) -> Shape:
    outs, ins = zip(*(linear_shape(layer) for layer in layers.values()), strict=True)
    return min(outs), min(ins)


def _energies(sets: TargetSets, sizes: pd.DataFrame) -> pd.DataFrame:
    shares = {name: values.square().cumsum(0) for name, values in _spectra(sets).items()}
    rows = []
    for targets, layers in sets.items():
        ranks = sorted(set(sizes.loc[sizes["targets"] == targets, "rank"]))
        for name, (block, role) in blocks_and_roles(layers).items():
            for rank in ranks:
                last = min(rank, len(shares[name]))
                share = float(shares[name][last - 1] / shares[name][-1])
                rows.append((targets, rank, role, block, share, last / len(shares[name])))
    table = pd.DataFrame(rows, columns=["targets", "rank", "role", "block", "share", "flat"])
    return table.groupby(["targets", "rank", "role", "block"], sort=False).mean().reset_index()


def _spectra(sets: TargetSets) -> dict[str, Tensor]:
    """Return all singular values of every layer, with a bar where they are not in the cache."""
    weights = {name: linear_weight(layer) for layers in sets.values() for name, layer in layers.items()}
    found: dict[str, Tensor] = {}
    names = list(weights)
    with progress_bar(len(names), "singular values", "layer", delay=2) as bar:
        for first in range(0, len(names), _LAYERS_AT_ONCE):
            some = names[first : first + _LAYERS_AT_ONCE]
            found |= singular_values({name: weights[name] for name in some})
            bar.update(len(some))
    return found


def _check(ranks: Sequence[int] | None) -> None:
    for rank in ranks or ():
        require_count("a rank of ranks", rank)
    if ranks is not None and not ranks:
        raise VxlabError("ranks is empty: no rank; give positive whole numbers, such as [1, 8, 64]")
