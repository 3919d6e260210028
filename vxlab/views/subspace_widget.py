"""The band slider as widgets, for a live notebook."""

from typing import Any

import ipywidgets as widgets
import pandas as pd
import plotly.graph_objects as go

from vxlab.views.subspace_explorer import choices, frame, shown


class SubspaceWidget(widgets.VBox):  # type: ignore[misc] # ipywidgets says nothing of its types
    """Menus of roles and bands, a slider over the band's rank, and what lies in the chosen band.

    Args:
        energies: of one update, from ``band_energies``.
        spectra: from ``spectra_table``, of ``W`` and of the update.
        update: whose.
    """

    def __init__(self, energies: pd.DataFrame, spectra: pd.DataFrame, update: str) -> None:
        self._tables, self._choices = (energies, spectra, update), choices(energies)
        self.role = widgets.Dropdown(options=list(dict.fromkeys(role for role, _ in self._choices)), description="role")
        self.band = widgets.Dropdown(options=list(dict.fromkeys(band for _, band in self._choices)), description="band")
        self.size = widgets.SelectionSlider(
            options=self._choices[self.role.value, self.band.value],
            description="rank",
            layout=widgets.Layout(width="45%"),
        )
        self.figure = go.FigureWidget(frame(update))
        for each in (self.role, self.band):
            each.observe(self._take_choice, names="value")
        self.size.observe(self._show, names="value")
        self._show()
        super().__init__([widgets.HBox([self.role, self.band, self.size]), self.figure])

    def _take_choice(self, _: Any) -> None:
        # Roles of other widths have other ranks: then the slider goes back to the smallest, else it stays.
        self.size.options = self._choices[self.role.value, self.band.value]
        self._show()

    def _show(self, _: Any = None) -> None:
        if self.size.value is None:
            return  # between two choices
        points, (x0, x1), told = shown(*self._tables, (self.role.value, self.band.value), self.size.value)
        with self.figure.batch_update():
            for trace, own in zip(self.figure.data, points, strict=True):
                trace.update(own)
            self.figure.layout.shapes[0].update(x0=x0, x1=x1)
            self.figure.layout.annotations[-1].text = told
