"""The sweep explorer in a live notebook: filters, curves of what the pointer is on, and exports."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from vxlab.errors import VxlabError
from vxlab.views.explorers import ExplorerWidget
from vxlab.views.explorers.sweep.explorer import SweepExplorer
from vxlab.views.explorers.sweep.filter import Filter, everything
from vxlab.views.export import export_figure, export_table
from vxlab.views.style import escape

_WRAPPED = widgets.Layout(flex_flow="row wrap", align_items="center")
_NARROW = widgets.Layout(width="auto", margin="0 14px 0 0")


class SweepWidget(ExplorerWidget):
    """An :class:`ExplorerWidget` with filters above its figure, and exports below.

    Pointing at a candidate shows its curves and tuning until the pointer leaves it; a click chooses it.

    Args:
        explorer: of the sweeps.
    """

    def __init__(self, explorer: SweepExplorer) -> None:
        super().__init__(explorer)
        self._all: SweepExplorer = explorer
        self._there = everything(explorer.every)
        self.filters = _Filters(self._there, self._take_filters)
        self.buttons = {
            "runs as CSV": self._save_runs, "figure as PNG": self._save("png"), "figure as SVG": self._save("svg")
        }  # fmt: skip
        self.saved = widgets.HTML()
        row = [_button(name, partial(self._export, save)) for name, save in self.buttons.items()]
        self.exports = widgets.HBox([*row, self.saved], layout=_WRAPPED)
        before = [child for child in self.children if child not in (self.figure, self.table)]
        self.children: Any = (*before, self.filters, self.figure, self.table, self.exports)
        for i, trace in enumerate(self.figure.data[: len(explorer.drawn(self.choice).names)]):
            trace.on_hover(partial(self._point_at, i))
            trace.on_unhover(self._leave)
            trace.on_click(partial(self._choose, i))
        self._say_how_many()

    @property
    def runs(self) -> Any:
        """The runs that are shown, as a DataFrame."""
        return self._explorer.sweep_of(self.choice).runs  # type: ignore[attr-defined]

    def _take_filters(self, kept: Filter) -> None:
        left = self._all.filtered(kept)
        if not left.sweeps:
            self.filters.say("no run passes these filters; the figure is as it was")
            return
        self._explorer, self._offered, self._views = left, left.offered(), {}
        self._settle()
        self._say_how_many()

    def _say_how_many(self) -> None:
        explorer: Any = self._explorer
        total = sum(len(sweep.runs) for sweep in self._all.every)
        left = sum(len(sweep.runs) for sweep in explorer.sweeps.values())
        self.filters.say(f"all {total} runs shown" if left == total else f"{left} of {total} runs shown")

    def _point_at(self, which: int, trace: Any, points: Any, state: Any) -> None:
        if candidate := self._candidate(which, points):
            self._show_beside(candidate)

    def _leave(self, trace: Any, points: Any, state: Any) -> None:
        if points.point_inds:
            self._show_beside(self.slider.value)

    def _candidate(self, which: int, points: Any) -> str | None:
        """Return whose point it is; None where it is another trace's: plotly tells every trace of every event."""
        explorer: Any = self._explorer
        names = explorer.drawn(self.choice).names[which]
        return names[points.point_inds[0]] if points.point_inds else None

    def _show_beside(self, candidate: str) -> None:
        explorer: Any = self._explorer
        traces, layout = explorer.beside(self.choice, candidate)
        view = self._view()
        self._draw([*view.traces[: -len(traces)], *traces], {**view.layout, **layout})

    def _choose(self, which: int, trace: Any, points: Any, state: Any) -> None:
        candidate, (*before, _, cost) = self._candidate(which, points), self.choice
        if candidate is None:
            return
        for choice, stops in self._offered.items():
            if choice[-1] == cost and list(choice[:-2]) == before and candidate in [stop for _, stop in stops]:
                self.menus[-2].value = choice[-2]
                self.slider.value = candidate

    def _save_runs(self) -> Path:
        return export_table(self.runs, f"runs, {self._explorer.sweep_of(self.choice).name}")  # type: ignore[attr-defined]

    def _save(self, kind: Any) -> Callable[[], Path]:
        return lambda: export_figure(self.figure, f"sweep, {self.slider.value}", kind)

    def _export(self, save: Callable[[], Path], _: Any) -> None:
        self.saved.value = "writing …"
        try:
            self.saved.value = f"written: <code>{escape(str(save()))}</code>"
        except VxlabError as error:
            self.saved.value = escape(str(error))


class _Filters(widgets.Accordion):  # type: ignore[misc] # ipywidgets says nothing of its types
    """What may be filtered by, folded away; its title says how many runs are shown."""

    def __init__(self, there: Filter, changed: Callable[[Filter], None]) -> None:
        self._there, self._changed = there, changed
        self.boxes = {
            name: [widgets.Checkbox(value=True, description=each, indent=False, layout=_NARROW) for each in options]
            for name, options in (("method", there.methods), ("targets", there.targets), ("status", there.statuses))
        }
        low, high = there.ranks
        self.ranks = widgets.IntRangeSlider(
            value=there.ranks, min=low, max=max(high, low + 1), description="rank", continuous_update=False
        )
        rows = [
            widgets.HBox([widgets.HTML(f"<b>{name}</b>", layout=widgets.Layout(width="70px")), *boxes], layout=_WRAPPED)
            for name, boxes in self.boxes.items()
        ]
        for control in (self.ranks, *(box for boxes in self.boxes.values() for box in boxes)):
            control.observe(self._take, names="value")
        super().__init__([widgets.VBox([*rows, self.ranks])], selected_index=None)

    def say(self, told: str) -> None:
        """Show a line as the title."""
        self.titles = (f"Filter runs: {told}",)

    def _take(self, _: Any) -> None:
        ticked = ([box.description for box in boxes if box.value] for boxes in self.boxes.values())
        methods, targets, statuses = map(tuple, ticked)
        self._changed(Filter(methods, targets, statuses, self.ranks.value))


def _button(name: str, pressed: Callable[[Any], None]) -> Any:
    button = widgets.Button(description=name, layout=widgets.Layout(width="auto"))
    button.on_click(pressed)
    return button
