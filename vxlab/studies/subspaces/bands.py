"""Where one run's update lies in the spectra of the weights it started from, for bands of every size."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vxlab.analysis.bands import band_rank
from vxlab.analysis.matrices import Update
from vxlab.analysis.spectrum import update_svd
from vxlab.analysis.subspaces import sampled_angles
from vxlab.errors import VxlabError
from vxlab.experiments.method_names import method_label
from vxlab.experiments.record import RunRecord
from vxlab.experiments.runs.trained import base_weights, block_and_role, full_updates, require_updates, trained_updates
from vxlab.experiments.store.computed_tables import kept_table
from vxlab.experiments.store.store import Where
from vxlab.progress import progress_bar
from vxlab.spectra.weights import BANDS, Triplets
from vxlab.studies.subspaces.bases import SIZES, Whereabouts
from vxlab.studies.subspaces.tables import SIDES, band_energies, decompose_weights, spectra_table

if TYPE_CHECKING:
    import pandas as pd

_DRAWS = 60
_ANGLES = [
    "update", "layer", "block", "role", "side", "band", "fraction", "number", "degrees",
    "chance", "chance_low", "chance_high",
]  # fmt: skip


def run_bands(
    record: RunRecord,
    *,
    targets: str | Sequence[str] | None = None,
    fractions: Sequence[float] = SIZES,
    directions: int = 8,
    store: Where = None,
) -> Whereabouts:
    """Return a run's spectra, and how much of its update lies in bands of its weights; kept beside the store's runs.

    Args:
        record: a finished run of ``Full()``, or of an adapter in factors.
        targets: the layers, as :func:`vxlab.attach` takes them; None: those that the run trained, of a full
            fine-tuning every linear layer.
        fractions: of the triplets of W that a band holds, each above 0, at most 1.
        directions: of the update, its strongest ones, whose angles to the bands are taken.
        store: where to keep the tables, as :func:`vxlab.run` takes it.

    Returns:
        As :func:`vxlab.studies.subspaces.bases.whereabouts`; the angles are from :func:`angles_by_size`. The
        update's name is the method's label.

    Raises:
        VxlabError: the run did not finish or trained no updates, none of them in the targets, or a fraction is out of
            its range.
    """
    require_updates(record)
    sizes = sorted({float(fraction) for fraction in fractions if band_rank(1, fraction)})
    if not sizes:
        raise VxlabError("fractions is empty, so there is no band to show; give shares above 0, at most 1")
    whole = record.spec["method"]["name"] == "full"
    wanted = targets or ("all-linear" if whole else record.spec.get("targets", "all-linear"))
    return kept_table(_run_bands, record, wanted, sizes, directions, store=store)


def angles_by_size(
    weights: Mapping[str, Triplets],
    updates: Mapping[str, Mapping[str, Triplets | Update]],
    *,
    fractions: Sequence[float],
    directions: int = 8,
    seed: int = 0,
) -> "pd.DataFrame":
    """Return the principal angles between updates' strongest directions and bands of several sizes.

    The directions are written in W's own singular vectors, where a band is a choice of rows: one product serves all
    bands, and the angles are the arccosines of a few singular values, good to 1e-6 degrees.

    Args:
        weights: all singular triplets of W ``(out, in)``, by layer.
        updates: what they are to all singular triplets of ΔW, or its factors, by layer.
        fractions: of W's triplets that a band holds.
        directions: of the update's singular vectors, the first so many.
        seed: of the random subspaces that give the level of chance.

    Returns:
        As :func:`vxlab.studies.subspaces.tables.band_angles`, with ``fraction``.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for name, several in updates.items():
        for layer, update in several.items():
            block, role = block_and_role(layer)
            about = {"update": name, "layer": layer, "block": block, "role": role}
            U, S, V = _strongest(update, directions)
            for side, own, moved in zip(SIDES, (weights[layer].U, weights[layer].Vh.mT), (U, V), strict=True):
                if len(S):  # a zero update has no directions
                    rows += _to_bands(about | {"side": side}, own, moved, fractions, seed)
    return pd.DataFrame(rows, columns=_ANGLES)


def _run_bands(
    record: RunRecord, targets: str | Sequence[str], fractions: Sequence[float], directions: int
) -> Whereabouts:
    """Return all three block by block: the singular vectors of a whole model need not be held at once."""
    weights, updates = _load(record, targets)
    name, blocks = method_label(record.spec["method"]), {block_and_role(layer)[0]: None for layer in weights}
    parts = []
    with progress_bar(len(blocks), "spectra of the weights", "block") as bar:
        for block in blocks:
            own = {layer: updates[layer] for layer in weights if block_and_role(layer)[0] == block}
            triplets = decompose_weights({layer: weights[layer] for layer in own})
            dense = decompose_weights({layer: update for layer, update in own.items() if isinstance(update, Tensor)})
            known: dict[str, Triplets | Update] = {
                **dense, **{layer: update for layer, update in own.items() if not isinstance(update, Tensor)},
            }  # fmt: skip
            parts.append((
                spectra_table({"W": triplets, name: known}),
                band_energies(triplets, {name: own}, fractions=fractions),
                angles_by_size(triplets, {name: known}, fractions=fractions, directions=directions),
            ))  # fmt: skip
            bar.update()
    return Whereabouts(*(_joined(tables) for tables in zip(*parts, strict=True)))


def _load(record: RunRecord, targets: str | Sequence[str]) -> "tuple[dict[str, Tensor], Mapping[str, Tensor | Update]]":
    whole = record.spec["method"]["name"] == "full"
    updates: Mapping[str, Tensor | Update] = full_updates(record, targets) if whole else trained_updates(record)
    weights = {layer: W for layer, W in base_weights(record, targets).items() if layer in updates}
    if not weights:
        raise VxlabError(
            f"targets={targets!r} names no layer that run {record.key[:12]} trained; it trained "
            f"{', '.join(dict.fromkeys(block_and_role(layer)[1] for layer in updates))}"
        )
    return weights, updates


def _joined(tables: "Sequence[pd.DataFrame]") -> "pd.DataFrame":
    import pandas as pd

    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _strongest(update: Triplets | Update, directions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the columns U, the values and the columns V of an update's first triplets; fewer where its rank is."""
    U, S, Vh = update if isinstance(update, Triplets) else update_svd(update)
    there = int((S[:directions] > len(S) * torch.finfo(torch.float64).eps * S[0]).sum())
    return U[:, :there], S[:there], Vh[:there].mT


def _to_bands(
    about: Mapping[str, Any], own: Tensor, moved: Tensor, fractions: Sequence[float], seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the angles of some directions ``(n, a)`` to every band of W's vectors ``(n, k)`` of one side."""
    inside, n = own.mT @ moved, own.shape[1]
    for band in BANDS:
        for fraction in fractions:
            rank = band_rank(n, fraction)
            start = {"top": 0, "middle": (n - rank) // 2, "bottom": n - rank}[band]
            cosines = torch.linalg.svdvals(inside[start : start + rank]).clamp(max=1)
            found = torch.rad2deg(torch.arccos(cosines)).tolist()
            levels = _chance(own.shape[0], moved.shape[1], rank, seed)
            for number, (degrees, chance, low, high) in enumerate(zip(found, *levels, strict=True), 1):
                yield {
                    **about, "band": band, "fraction": fraction, "number": number, "degrees": degrees,
                    "chance": chance, "chance_low": low, "chance_high": high,
                }  # fmt: skip


@lru_cache(maxsize=128)
def _chance(n: int, a: int, b: int, seed: int) -> tuple[list[float], ...]:
    """Return the median of random angles, in degrees, and the ends of 95 % of them."""
    drawn = torch.rad2deg(sampled_angles(n, a, b, _DRAWS, seed))
    levels = torch.tensor([0.5, 0.025, 0.975], dtype=drawn.dtype)
    return tuple(torch.quantile(drawn, levels, dim=0).tolist())
