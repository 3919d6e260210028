"""The rank explorer: what a method at a rank costs, what it reaches before training, and what it scored."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
from torch import Tensor, nn

from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec
from vxlab.experiments.models import load_model, model_fingerprint, usual_labels
from vxlab.experiments.scoring import in_words
from vxlab.experiments.store import Where
from vxlab.experiments.sweeps import Measured
from vxlab.studies import measured_candidates
from vxlab.studies.ranks import FAMILIES, RankTables, captured_table, rank_tables
from vxlab.views.explorers import Choice, Stop, View, explore, is_live
from vxlab.views.explorers.rank.canvas import by_role, cost_line, flat_line, rank_panels, role_line
from vxlab.views.explorers.rank.words import (
    Lines,
    beside,
    measured_in_words,
    told_costs,
    told_energy,
    told_gradient,
    told_score,
)
from vxlab.views.style import escape, escape_all
from vxlab.words import number_of, write_number

if TYPE_CHECKING:
    from vxlab.views.explorers import ExplorerWidget

_VIEWS, _PAGE_BYTES = 160, 1_200_000
"""So many choices, and bytes of them, a page without a kernel has room for."""
_VIEW_BYTES, _POINT_BYTES = 4_000, 12


def explore_rank(
    model: str | Path | nn.Module = "minilm",
    *,
    targets: str | Sequence[str] = "query-value",
    ranks: Sequence[int] | None = None,
    gradients: Mapping[str, Tensor] | RunSpec | None = None,
    store: Where = None,
    task: str | None = None,
    metric: str | None = None,
    interactive: bool | None = None,
) -> "go.Figure | ExplorerWidget":
    """Show what LoRA, VeRA, LoRA-XS, LiDB or a registered family costs on a model at a rank, and its known worth.

    Choose the method, the layers and the rank. Shown are the trained parameters, the bytes and how many adapters 10⁹
    of them hold; the share of W's energy in its first r singular triplets, by block and role; where gradients are
    given, the share of the first gradient that the method can follow; and the test scores of the runs in the store, or
    where that has none of the model (and task) those of the atlas on the same weights, marked as such.

    Args:
        model: packaged name, hub id or folder, by which its runs are found, of a causal language model as it writes,
            of any other with a head of two classes; or a torch model without adapters.
        targets: the first of the offered target sets, as :func:`vxlab.attach` takes them; the model's others follow.
        ranks: to offer; None offers powers of two, and what was measured.
        gradients: ∂loss/∂W by layer, or a run such as ``vxlab.recipe()`` from whose first batches to compute them. The
            shares are computed for ``targets`` alone, in minutes.
        store: as :func:`vxlab.run` takes it; where given, it keeps the gradient's shares.
        task: whose runs; None takes the one with the most candidates, of the atlas the usual one.
        metric: one of the task's; None takes its first.
        interactive: widgets (needs a kernel), or a figure with its own menu and slider; None: widgets where there is
            a live notebook to show them.

    Raises:
        VxlabError: the model, its targets, the ranks, the gradients or the metric are refused.
    """
    name = None if isinstance(model, nn.Module) else str(model)
    if isinstance(gradients, RunSpec) and name not in (None, gradients.model):
        raise VxlabError(
            f"gradients is a run on {gradients.model!r}, and the model is {name!r}; give a run on {name!r}"
        )
    if isinstance(gradients, RunSpec) and gradients.quantisation is not None and name is not None:
        raise VxlabError(
            f"gradients is a run on {name!r} in {gradients.quantisation}, and the model is as its files have it; give "
            f"vxlab.load_model({name!r}, ..., quantisation={gradients.quantisation!r})"
        )
    weights = None if name is None else model_fingerprint(name)
    runs = measured_candidates(store, name, task=task, metric=metric, weights=weights)
    bare = model if isinstance(model, nn.Module) else load_model(str(model), usual_labels(str(model)))
    tables = rank_tables(bare, targets, ranks, _measured_ranks(runs))
    captured = None if gradients is None else captured_table(bare, gradients, tables.sizes, targets, store=store)
    live = is_live(interactive)
    return explore(RankExplorer(tables, runs, captured, model=name, whole=live), live)


class RankExplorer:
    """A model's adapters, one method, target set and rank at a time.

    Args:
        tables: costs and energies.
        runs: what was measured.
        captured: shares of the gradient for the first target set; None where no gradient is known.
        model: its name in the runs; None where it has none.
        whole: offer every target set and rank; else as many as a page without a kernel has room for.
    """

    menus, slider = ("method", "targets"), "rank"

    def __init__(
        self,
        tables: RankTables,
        runs: Measured,
        captured: pd.DataFrame | None,
        *,
        model: str | None,
        whole: bool = True,
    ) -> None:
        self._runs, self._model = runs, model
        self._sizes: dict[str, list[Any]] = {}
        for size in tables.sizes.itertuples():
            self._sizes.setdefault(str(size.targets), []).append(size)
        self._families = tuple(dict.fromkeys(tables.sizes["family"]))
        self._first, self._roles = next(iter(self._sizes)), list(dict.fromkeys(tables.energies["role"]))
        self._energies = by_role(tables.energies, ["targets", "rank"], ["share", "flat"])
        self._captured = (
            None if captured is None else by_role(captured, ["family", "rank"], ["share", "chance", "best"])
        )
        self._lowest = None if captured is None else _lowest(captured)
        self._blocks = int(tables.energies["block"].nunique())
        self._scores = {(row.targets, row.family, int(row.rank)): row for row in _ranked(runs)}
        everything = _choices(self._sizes, self._families)
        self._offered = everything if whole else _thinned(everything, self._room())
        self._missing = _missing(everything, self._offered, tables.too_large)

    def offered(self) -> dict[Choice, list[Stop]]:
        return self._offered

    def canvas(self) -> go.Figure:
        whose = " of the atlas" if self._runs.origin else ""
        metric = in_words(self._runs.metric) + whose if len(self._runs.table) else ""
        most = max(row.rank for rows in self._sizes.values() for row in rows)
        return rank_panels(self._roles, self._families, self._blocks, most, lowest=self._lowest, metric=metric)

    def view(self, choice: Choice, stop: int) -> View:
        family, targets = choice
        sizes, energies = self._sizes[targets], self._energies[targets, stop]
        size = next(row for row in sizes if (row.family, row.rank) == (family, stop))
        captured = self._captured_by(family, targets, stop)
        traces = [role_line(energies, role, "share") for role in self._roles] + [flat_line(energies)]
        if self._captured is not None:
            traces += [role_line(captured, role, column) for column in ("share", "chance") for role in self._roles]
        traces += [cost_line(sizes, each, family) for each in self._families]
        traces += [self._candidates(targets, on_front) for on_front in (True, False)]
        traces.append({"x": [size.rank], "y": [size.backbone]})
        words = [
            *told_costs(size),
            told_energy(stop, energies),
            self._of_gradient(captured, family),
            self._of_score(size),
        ]
        return View(traces, words + escape_all(self._missing), {}, beside(sizes, size, self._scores, self._runs))

    def _captured_by(self, family: str, targets: str, rank: int) -> Lines:
        known = self._captured if targets == self._first else None
        return (known or {}).get((family, rank), {})

    def _of_gradient(self, captured: Lines, family: str) -> str:
        if captured:
            return told_gradient(captured)
        if self._captured is None:
            return "Of the first gradient: not computed; give explore_rank a run, such as gradients=vxlab.recipe()"
        if family not in FAMILIES:
            return f"Of the first gradient: not known for {escape(family)}, a family of your own"
        return f"Of the first gradient: computed for {escape(self._first)} alone, the targets of this call"

    def _of_score(self, size: Any) -> str:
        row = self._scores.get((size.targets, size.family, size.rank))
        if row is not None:
            return told_score(row, self._runs)
        if self._model is None:
            return "Test score: none, for runs are found by a model's name, and this model was given as it is"
        chosen = {"model": self._model, "targets": size.targets}
        usual = {"model": "minilm", "targets": "query-value"}
        told = "".join(f" -p {name} {escape(value)}" for name, value in chosen.items() if value != usual[name])
        strange = self._runs.elsewhere
        other = f" on these weights, though {number_of(strange, 'run')} on others of this name" if strange else ""
        notebook = "02_rank_sweep" if size.head else "10_generation"  # without a task head it writes
        nor = f", nor in the atlas on {escape(self._runs.protocol)}" if self._runs.origin else ""
        return f"<b>Test score: not measured yet</b>{other}{nor}; to measure: vxlab report {notebook}{told}"

    def _candidates(self, targets: str, on_front: bool) -> dict[str, Any]:
        rows = [row for place, row in self._scores.items() if place[0] == targets and row.front == on_front and row.n]
        whose = f"<br>{escape(self._runs.origin)}" if self._runs.origin else ""
        return {
            "x": [int(row.rank) for row in rows], "y": [int(row.backbone) for row in rows],
            "text": [write_number(row.mean, ".3f") if on_front else "" for row in rows],  # all would overlap
            "customdata": [
                f"<b>{escape(row.label)}</b><br>{in_words(self._runs.metric)} {measured_in_words(row)}{whose}"
                for row in rows
            ],
        }  # fmt: skip

    def _room(self) -> int:
        shown = self._blocks * len(self._roles) * (1 if self._captured is None else 3)
        return max(1, min(_VIEWS, _PAGE_BYTES // (_VIEW_BYTES + _POINT_BYTES * shown)))


def _choices(sizes: Mapping[str, Sequence[Any]], families: Sequence[str]) -> dict[Choice, list[Stop]]:
    stops = {
        (family, targets): [(f"r={row.rank}", row.rank) for row in rows if row.family == family]
        for family in families
        for targets, rows in sizes.items()
    }
    return {choice: several for choice, several in stops.items() if several}


def _thinned(choices: Mapping[Choice, list[Stop]], most: int) -> dict[Choice, list[Stop]]:
    """Leave out the last target sets until the choices are few enough, then ranks between the first and the last."""
    sets = list(dict.fromkeys(targets for _, targets in choices))
    while len(sets) > 1 and sum(len(stops) for (_, targets), stops in choices.items() if targets in sets) > most:
        sets.pop()
    kept = {choice: stops for choice, stops in choices.items() if choice[1] in sets}
    step = math.ceil(sum(map(len, kept.values())) / most)
    return {choice: stops[::-step][::-1] for choice, stops in kept.items()}


def _missing(
    everything: Mapping[Choice, list[Stop]], offered: Mapping[Choice, list[Stop]], too_large: Sequence[str]
) -> list[str]:
    """Say what is not offered, in a line or none."""
    sets = [targets for targets in dict.fromkeys(choice[1] for choice in everything) if targets not in
            {choice[1] for choice in offered}]  # fmt: skip
    lines = [f"Left out of this page: {', '.join(sets)}; a live notebook offers them"] if sets else []
    if any(len(stops) < len(everything[choice]) for choice, stops in offered.items()):
        lines.append("Left out of this page: ranks between those of the slider; a live notebook offers them")
    if too_large:
        lines.append(f"Left out, since their spectra take long: {', '.join(too_large)}; name one as targets")
    return lines


def _measured_ranks(runs: Measured) -> dict[tuple[str, str], list[int]]:
    """Return the ranks that were measured, by target set and method."""
    found: dict[tuple[str, str], list[int]] = {}
    for row in _ranked(runs):
        found.setdefault((str(row.targets), str(row.family)), []).append(int(row.rank))
    return found


def _ranked(runs: Measured) -> list[Any]:
    return list(runs.table[runs.table["rank"].notna()].itertuples())


def _lowest(captured: pd.DataFrame) -> float:
    values = captured[["share", "chance"]].to_numpy()
    positive = values[values > 1e-6]
    return float(positive.min()) if len(positive) else 1e-3
