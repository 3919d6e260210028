"""The update explorer: what a run learnt in each layer, alone or beside another run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, method_label
from vxlab.experiments.provenance import identity_columns
from vxlab.experiments.store import Where
from vxlab.studies.updates import UpdateTables, WeightComparison, pair_table, update_tables
from vxlab.views.explorers import Choice, Stop, View, explore, is_live, short, spread
from vxlab.views.explorers.updates.canvas import own_panel_kind, titles, update_panels
from vxlab.views.explorers.updates.words import alike_words, own_words
from vxlab.views.style import escape, escape_all, name_panels

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from vxlab.views.explorers import ExplorerWidget

_VIEWS = 150
"""At most so many in a figure without a kernel, shared between the runs: each holds its maps."""


def explore_updates(
    run: RunRecord | WeightComparison,
    other: RunRecord | None = None,
    *,
    store: Where = None,
    interactive: bool | None = None,
) -> "go.Figure | ExplorerWidget":
    """Show what a run learnt, one layer at a time: how far W moved, ΔW's spectrum, and the tensors that were trained.

    A second run stands beside the first, with the cosine and the overlap of the two updates. The numbers are computed
    once with a progress bar, and kept beside the store's runs.

    Args:
        run: a finished run of an adapter, or of ``Full()``; or what :func:`vxlab.compare_weights` returned, by itself.
        other: another one on the same base model and layers; beside a full fine-tuning the adapter's layers are shown.
        store: where the tables are kept, as :func:`vxlab.run` takes it.
        interactive: widgets (needs a kernel), or a figure with its own menu and slider; None: widgets where there is a
            live notebook to show them.

    Raises:
        VxlabError: there is no trained run, it diverged or trained no updates, or the two differ in their base model or
            layers.
    """
    live = is_live(interactive)
    if isinstance(run, WeightComparison):
        if other is not None:
            raise VxlabError(f"other={quote(other)} cannot stand beside a comparison of weights; give two runs")
        shown = _UpdateExplorer([Path(run.name).name], [{}], [run.tables], None, live, run.notes)
        return explore(shown, live)
    records = [run] if other is None else [run, other]
    pairs = None if other is None else pair_table(run, other, store=store)
    tables = [update_tables(record, store=store) for record in records]
    methods = [dict(record.spec["method"]) for record in records]
    return explore(_UpdateExplorer(_names(records), methods, tables, pairs, live), live)


class _UpdateExplorer:
    """One or two updates of a whole model, a layer at a time."""

    menus, slider = ("role",), "block"

    def __init__(
        self,
        names: Sequence[str],
        methods: Sequence[Mapping[str, Any]],
        tables: Sequence[UpdateTables],
        pairs: pd.DataFrame | None,
        live: bool,
        notes: Sequence[str] = (),
    ) -> None:
        self._names, self._methods, self._notes = names, methods, escape_all(notes)
        shown = None if pairs is None else set(pairs["layer"])
        layers = [each.layers if shown is None else each.layers[each.layers["layer"].isin(shown)]
                  for each in tables]  # fmt: skip
        self._layers = layers
        self._rows = [_records(table) for table in layers]
        self._points = [_by_line(each.points) for each in tables]
        self._pairs = None if pairs is None else _records(pairs)
        self._live, self._kinds = live, [own_panel_kind(points) for points in self._points]
        self._still: list[dict[str, Any]] = [{} for _ in range(len(layers) * layers[0]["role"].nunique())]

    def offered(self) -> dict[Choice, list[Stop]]:
        found: dict[Choice, list[Stop]] = {}
        seen: Counter[tuple[str, int]] = Counter()
        for layer, block, role in self._layers[0][["layer", "block", "role"]].itertuples(index=False):
            seen[role, block] += 1  # a decoder may have two attentions in a block
            again = seen[role, block]
            found.setdefault((role,), []).append((f"{block}·{again}" if again > 1 else str(block), layer))
        most = len(self._layers[0]) if self._live else _VIEWS // len(self._names) // len(found)
        return {role: spread(stops, max(most, 2)) for role, stops in found.items()}

    def canvas(self) -> "go.Figure":
        return update_panels(self._names, self._layers, self._points, self._kinds)

    def view(self, choice: Choice, stop: str) -> View:
        rows = [own[stop] for own in self._rows]
        rings = [{"x": [int(row["block"])], "y": [short(row["relative_norm"])]} for row in rows]
        spectra = [self._line(i, stop, "spectrum") for i in range(len(rows))]
        details = [trace for i in range(len(rows)) for trace in self._details(i, stop)]
        heads = titles(escape_all(self._names), self._kinds, rows)
        return View([*self._still, *rings, *spectra, *details], self._told(stop, rows), name_panels(heads))

    def _details(self, i: int, layer: str) -> list[dict[str, Any]]:
        """Return the traces of a run's own panel, and of a single run those that hold W + ΔW against W."""
        if self._kinds[i] == ("R",):
            traces = [{"z": _square(self._points[i].get((layer, "R"), ([], []))[1])}]
        else:
            traces = [self._line(i, layer, what) for what in self._kinds[i]]
        if len(self._names) > 1:
            return traces
        numbers = self._line(i, layer, "similarity")
        chance = short(self._rows[i][layer]["chance"])
        return [*traces, numbers, {"x": numbers["x"], "y": [chance] * len(numbers["x"])}, {}]

    def _line(self, i: int, layer: str, what: str) -> dict[str, Any]:
        x, y = self._points[i].get((layer, what), ([], []))
        return {"x": x, "y": y}

    def _told(self, layer: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        head = f"<b>{escape(rows[0]['role'])}, block {rows[0]['block']}</b> ({escape(layer)})"
        names = escape_all(self._names)
        lines = [head]
        for name, row, method in zip(names, rows, self._methods, strict=True):
            lines += own_words(name, row, method)
        if self._pairs is not None:
            lines += alike_words(self._pairs[layer])
            lines.append(f"Solid lines and filled marks: {names[0]}; dashed and hollow: {names[1]}.")
        return [*lines, *self._left_out, *self._notes]

    @cached_property
    def _left_out(self) -> list[str]:
        shown, there = sum(len(stops) for stops in self.offered().values()), len(self._layers[0])
        return [] if shown == there else [f"{shown} of {there} layers can be chosen here, and all in a live notebook."]


def _names(records: Sequence[RunRecord]) -> list[str]:
    """Name runs by their methods; those of one label by the first setting in which they differ."""
    names = [method_label(record.spec["method"]) for record in records]
    if len(set(names)) == len(names):
        return names
    first, second = map(_settings, records)
    apart = next((name for name in first if first[name] != second.get(name)), None)
    if apart is None:
        return [f"{names[0]} (first)", f"{names[1]} (second)"]
    told = [f"{each:g}" if isinstance(each, float) else str(each) for each in (first[apart], second.get(apart))]
    return [f"{name}, {apart.replace('_', ' ')} {value}" for name, value in zip(names, told, strict=True)]


def _settings(record: RunRecord) -> dict[str, Any]:
    """Return a run's settings, the method's first, and its identity; the method's seed is of the frozen matrices."""
    method = {"matrix seed" if name == "seed" else name: value for name, value in record.spec["method"].items()}
    told = method | {name: value for name, value in record.spec.items() if name != "method"}
    return told | identity_columns(record.identity)


def _records(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return a table's rows by their layer."""
    return {row["layer"]: {str(name): value for name, value in row.items()} for row in table.to_dict("records")}


def _by_line(points: pd.DataFrame) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
    """Return the points of every line, by layer and what it shows."""
    found: dict[tuple[str, str], Any] = {}
    for (layer, what), rows in points.groupby(["layer", "what"], sort=False):
        digits = 2 if what == "R" else 4
        values = [round(value, digits) for value in rows["value"]] if what == "R" else map(short, rows["value"])
        found[str(layer), str(what)] = ([short(at) for at in rows["at"]], list(values))
    return found


def _square(values: Sequence[float]) -> list[list[float]]:
    size = round(len(values) ** 0.5)
    return [list(values[i * size : (i + 1) * size]) for i in range(size)]
