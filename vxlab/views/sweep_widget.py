"""The rank slider as widgets, for a live notebook."""

from typing import Any

import ipywidgets as widgets
import pandas as pd
import plotly.graph_objects as go

from vxlab.views.sweep_explorer import beside_neighbours, choices, highlight
from vxlab.views.sweep_figures import score_against_parameters


class SweepWidget(widgets.VBox):  # type: ignore[misc] # ipywidgets says nothing of its types
    """A menu of methods, a slider over the ranks of the chosen one, and what the choice costs and is worth.

    Args:
        summary: one row a candidate.
        pairs: one row a pair of candidates.
        runs: with ``candidate`` and ``stage``; those of the report are faint dots.
        metric: whose scores they are.
    """

    def __init__(self, summary: pd.DataFrame, pairs: pd.DataFrame, runs: pd.DataFrame | None, metric: str) -> None:
        self._tables, self._metric, self._choices = (summary, pairs), metric, choices(summary)
        self.method = widgets.Dropdown(options=list(self._choices), description="method")
        self.rank = widgets.SelectionSlider(
            options=self._choices[self.method.value], description="rank", layout=widgets.Layout(width="60%")
        )
        self.table = widgets.HTML()
        self.figure = go.FigureWidget(score_against_parameters(summary, metric=metric, runs=runs))
        self.figure.add_scatter(mode="markers", name="chosen, and what it is beside", hoverinfo="skip")
        self.method.observe(self._take_method, names="value")
        self.rank.observe(self._show, names="value")
        self._show()
        super().__init__([widgets.HBox([self.method, self.rank]), self.table, self.figure])

    def _take_method(self, _: Any) -> None:
        # The slider then stands at the method's lowest rank, and tells so.
        self.rank.options = self._choices[self.method.value]

    def _show(self, _: Any = None) -> None:
        if self.rank.value is None:
            return  # between two methods' ranks
        rows = beside_neighbours(*self._tables, self.rank.value, self._metric)
        self.table.value = rows.to_html(index=False, border=0, justify="left")
        with self.figure.batch_update():
            self.figure.data[-1].update(highlight(*self._tables, self.rank.value))
