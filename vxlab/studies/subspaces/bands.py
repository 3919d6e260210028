"""Where finished runs' updates lie in the spectra of the weights they started from, for bands of every size."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from torch import Tensor

from vxlab.analysis import FullUpdate, Update, band_rank
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.runs import base_weights, blocks_and_roles, require_same_base, require_updates, updates_of
from vxlab.experiments.store import Where, kept_table
from vxlab.progress import progress_bar
from vxlab.spectra import Triplets
from vxlab.studies.subspaces.tables import band_angles, band_energies, decompose_weights, spectra_table

SIZES = (0.0625, 0.125, 0.25, 0.5, 0.75, 1.0)
"""Of the bands whose share of the energies is told, as fractions of the triplets."""


class Whereabouts(NamedTuple):
    """What finished runs learnt, beside the spectra of the weights they started from."""

    spectra: pd.DataFrame
    """from :func:`vxlab.studies.subspaces.tables.spectra_table`, of W and of every run's ΔW"""
    energies: pd.DataFrame
    """from :func:`vxlab.studies.subspaces.tables.band_energies`"""
    angles: pd.DataFrame
    """from :func:`vxlab.studies.subspaces.tables.band_angles`"""


def whereabouts(
    records: Mapping[str, RunRecord],
    *,
    targets: str | Sequence[str] | None = None,
    fractions: Sequence[float] = SIZES,
    directions: int = 8,
    seed: int = 0,
    store: Where = None,
) -> Whereabouts:
    """Return the spectra of what runs learnt, and how much of it lies in bands of W; kept beside the store's runs.

    Args:
        records: finished runs from one base model, of ``Full()`` or of adapters, by the name to show.
        targets: the layers, as :func:`vxlab.attach` takes them; None: those that the first run trained, and every
            linear layer where one is a full fine-tuning.
        fractions: of the triplets of W that a band holds, each above 0, at most 1.
        directions: of every update, its strongest ones, whose angles to the bands are taken.
        seed: of the random subspaces that give the angles' level of chance.
        store: where to keep the tables, as :func:`vxlab.run` takes it.

    Raises:
        VxlabError: a run did not finish, the runs started from several models, one trained no updates or none in the
            targets, or a fraction is out of its range.
    """
    for record in records.values():
        require_updates(record)
        require_same_base(next(iter(records.values())), record)
    sizes = sorted({float(fraction) for fraction in fractions if band_rank(1, fraction)})
    if not sizes:
        raise VxlabError("fractions is empty, so there is no band to show; give shares above 0, at most 1")
    return kept_table(_whereabouts, records, targets or _own_targets(records), sizes, directions, seed, store=store)


def _whereabouts(
    records: Mapping[str, RunRecord], targets: str | Sequence[str], fractions: Sequence[float], directions: int,
    seed: int,
) -> Whereabouts:  # fmt: skip
    """Return all three block by block: the singular vectors of a whole model need not be held at once."""
    updates = {name: updates_of(record, targets) for name, record in records.items()}
    weights = _weights(next(iter(records.values())), targets, updates)
    numbers = {layer: block for layer, (block, _) in blocks_and_roles(weights).items()}
    blocks = dict.fromkeys(numbers.values())
    parts = []
    with progress_bar(len(blocks), "spectra of the weights", "block") as bar:
        for block in blocks:
            triplets = decompose_weights({k: W for k, W in weights.items() if numbers[k] == block})
            own = {name: {layer: of[layer] for layer in triplets if layer in of} for name, of in updates.items()}
            known = {name: _decompose_dense(of) for name, of in own.items()}
            parts.append((
                spectra_table({"W": triplets, **known}, among=weights),
                band_energies(triplets, own, fractions=fractions, among=weights),
                band_angles(
                    triplets, known, fractions=fractions, directions=directions, seed=seed, among=weights
                ),
            ))  # fmt: skip
            bar.update()
    return Whereabouts(*(_joined(tables) for tables in zip(*parts, strict=True)))


def _weights(
    record: RunRecord, targets: str | Sequence[str], updates: Mapping[str, Mapping[str, Update]]
) -> dict[str, Tensor]:
    """Return W of the layers that some run trained."""
    trained = {layer: None for of in updates.values() for layer in of}
    weights = {layer: W for layer, W in base_weights(record, targets).items() if layer in trained}
    if not weights:
        raise VxlabError(
            f"targets={targets!r} names no layer that run {record.key[:12]} trained; it trained "
            f"{', '.join(dict.fromkeys(role for _, role in blocks_and_roles(trained).values()))}"
        )
    return weights


def _decompose_dense(updates: Mapping[str, Update]) -> dict[str, Update | Triplets]:
    """Return updates with all singular triplets in place of those that are whole matrices."""
    dense = {layer: update.to_matrix() for layer, update in updates.items() if isinstance(update, FullUpdate)}
    return {**updates, **decompose_weights(dense)}


def _own_targets(records: Mapping[str, RunRecord]) -> str | Sequence[str]:
    specs = [record.spec for record in records.values()]
    own: str | Sequence[str] = specs[0].get("targets", "all-linear")
    return "all-linear" if any(spec["method"]["name"] == "full" for spec in specs) else own


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
