"""Which part of a fine-tuned model's spectra its answers need: keep one band of singular triplets, and ask again."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from vxlab.adapters import resolve_targets
from vxlab.adapters.core import linear_weight, role_of
from vxlab.analysis import cut_band
from vxlab.checks import require_choice
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.runs import base_weights, load_trained, require_finished
from vxlab.experiments.store import Where, kept_table
from vxlab.progress import progress_bar
from vxlab.spectra import Triplets
from vxlab.studies import AskedItems
from vxlab.studies.subspaces.tables import decompose_weights

KEPT = ("weight", "update")
EVERY = "all roles"
"""The role of every linear layer of the blocks at once."""
UNTOUCHED, REMOVED = "untouched", "removed"
"""Bands that are none: the model as it was trained, and a role's weight (or update) set to zero."""
STATE = ["what", "role", "band", "fraction"]
"""Columns that tell a model's states apart."""


def truncated_answers(
    record: RunRecord,
    what: str = "weight",
    *,
    fractions: Sequence[float] = (0.125, 0.25, 0.5, 0.75),
    bands: Sequence[str] = ("top", "middle", "bottom"),
    roles: Sequence[str] | None = None,
    items: int | None = None,
    seed: int = 0,
    device: str | None = None,
    store: Where = None,
) -> pd.DataFrame:
    """Answer the test items with one band of singular triplets in the place of a role's weights, without training.

    One role at a time, in all blocks, and then all roles together, the trained W' becomes the sum of the band's
    triplets of W'; or, with ``what="update"``, W plus the sum of the band's triplets of ΔW = W' - W. All else stays as
    it was trained. The answers are kept beside the store's runs and read from there the next time.

    Args:
        record: a finished run of ``Full()``.
        what: ``weight`` or ``update``.
        fractions: of the min(out, in) triplets, each above 0 and at most 1.
        bands: ``top``, ``middle``, ``bottom`` or ``random``, as :func:`vxlab.analysis.bands.cut_band` takes them.
        roles: such as ``query``, ``down`` or ``all roles``; None takes every role of the model's blocks, and all.
        items: a seeded, stratified sample of the test split; None, or more than there are, takes all.
        seed: of the random band.
        device: to ask on: ``auto``, ``cuda``, ``mps`` or ``cpu``; None takes the run's.
        store: where to keep the answers, as :func:`vxlab.run` takes it.

    Returns:
        One row an item and a state of the model: ``what``, ``role``, ``band``, ``fraction``, ``item`` (its row in the
        test split), ``answer`` (class id, or a regression's output) and ``label``, and ``unit``, the number of the
        independent unit that the item is of, such as its film. Where the model writes, ``answer`` is Σ log p of the
        item's references, ``tokens`` how many tokens these have, and ``label`` 0. The model as trained has the role ""
        and the band ``untouched`` at fraction 1; a role's weights or updates at zero are ``removed`` at fraction 0.

    Raises:
        VxlabError: the run is of another method or diverged, the model has no such role, ``what``, a band or a
            fraction is out of its range, the device is not there, or the base model is no longer the one it trained on.
    """
    _check(record, what, fractions)
    wanted = sorted({*map(float, fractions)}), dict.fromkeys(bands), None if roles is None else dict.fromkeys(roles)
    answers = kept_table(_truncated, record, what, *wanted, items, seed, device, store=store)
    units, rows = record.units(), answers["item"].to_numpy()
    return answers.assign(unit=rows if units is None else units[rows])


class _Band(NamedTuple):
    name: str
    fraction: float


class _Subject:
    """The trained model with the weights it started from, and the test items it is asked."""

    def __init__(self, record: RunRecord, items: int | None, device: str | None = None) -> None:
        self.asked = AskedItems(record, items, device)
        self.kind, self.rows, self.labels = self.asked.kind, self.asked.rows, self.asked.labels
        self.before = base_weights(record)
        self.model = load_trained(record).to(self.asked.device)
        layers = resolve_targets(self.model, "all-linear")
        self.by_role: dict[str, dict[str, nn.Module]] = {}
        for name, module in layers.items():
            self.by_role.setdefault(role_of(name) or "other", {})[name] = module
        self.by_role[EVERY] = layers
        self.triplets: dict[str, Triplets] = {}

    def answers(self) -> list[list[float]]:
        """Return what the model as it is now answers to each item."""
        return self.asked.answers(self.model)

    @contextmanager
    def with_weights(self, weights: Mapping[str, Tensor], role: str) -> Iterator[None]:
        """Put other weights in a role's layers, and the trained ones back at the end."""
        held = {name: linear_weight(module).clone() for name, module in self.by_role[role].items()}
        try:
            self._put(weights, role)
            yield
        finally:
            self._put(held, role)

    def _put(self, weights: Mapping[str, Tensor], role: str) -> None:
        for name, module in self.by_role[role].items():
            linear_weight(module).copy_(weights[name])


def _truncated(
    record: RunRecord, what: str, fractions: Iterable[float], bands: Iterable[str], roles: Iterable[str] | None,
    items: int | None, seed: int, device: str | None,
) -> pd.DataFrame:  # fmt: skip
    subject = _Subject(record, items, device)
    chosen = list(subject.by_role if roles is None else roles)
    for role in chosen:
        require_choice("role", role, subject.by_role)
    states = [_Band(REMOVED, 0.0), *(_Band(*each) for each in product(bands, fractions))]
    bar = progress_bar(1 + len(chosen) * len(states), f"bands of the {what}", "evaluation")
    rows: list[tuple[Any, ...]] = []

    def ask(role: str, band: _Band) -> None:
        asked = zip(subject.rows, subject.answers(), subject.labels, strict=True)
        rows.extend((what, role, *band, item, *answer, truth) for item, answer, truth in asked)
        bar.update()

    with bar:
        ask("", _Band(UNTOUCHED, 1.0))
        for role in chosen:
            rebuild = _rebuilder(subject, role, what, seed)
            for state in states:
                with subject.with_weights(rebuild(state), role):
                    ask(role, state)
    return pd.DataFrame(rows, columns=[*STATE, "item", *subject.kind.answer_columns, "label"])


def _rebuilder(subject: _Subject, role: str, what: str, seed: int) -> Callable[[_Band], dict[str, Tensor]]:
    """Return what makes a role's weights of one band of their triplets."""
    before = {name: subject.before[name].double() for name in subject.by_role[role]}
    trained = {name: linear_weight(module).cpu().double() for name, module in subject.by_role[role].items()}
    stays = {name: torch.zeros_like(W) for name, W in before.items()} if what == "weight" else before
    cut = {name: W - stays[name] for name, W in trained.items()}
    spectra = subject.triplets  # each layer is cut twice: with its role, and with all
    spectra |= decompose_weights({name: matrix for name, matrix in cut.items() if name not in spectra})

    def rebuild(band: _Band) -> dict[str, Tensor]:
        if band.name == REMOVED:
            return stays
        return {name: stays[name] + cut_band(spectra[name], band.fraction, band.name, seed) for name in stays}

    return rebuild


def _check(record: RunRecord, what: str, fractions: Sequence[float]) -> None:
    require_choice("what", what, KEPT)
    require_finished(record)
    if (name := record.spec["method"]["name"]) != "full":
        raise VxlabError(f"run {record.key[:12]} is of {name}; truncation needs a run of Full()")
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise VxlabError(f"fractions={list(fractions)!r} must be some, each above 0 and at most 1")
