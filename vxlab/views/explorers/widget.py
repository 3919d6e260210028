"""An explorer as widgets, for a live notebook."""

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import pandas as pd

from vxlab.views.explorers.explorer import Choice, Explorer, View, same
from vxlab.views.explorers.figure_widget import FitWidth, WholeFigure
from vxlab.views.style import theme_style

_WRAPPED = widgets.Layout(flex_flow="row wrap", align_items="center")


class ExplorerWidget(widgets.VBox):  # type: ignore[misc] # ipywidgets says nothing of its types
    """Menus, a slider, and what the choice shows: words, a figure, and a table where there is one.

    While a view is computed, JupyterLab sends no further move of the slider but the last: nothing queues up.

    Args:
        explorer: what there is to choose.
    """

    def __init__(self, explorer: Explorer) -> None:
        self._explorer, self._offered, self._settling = explorer, explorer.offered(), False
        self._views: dict[tuple[Choice, int], View] = {}
        described = {"description_width": "initial"}
        self.menus = [widgets.Dropdown(description=name, style=described) for name in explorer.menus]
        first = next(iter(self._offered.values()))
        self.slider = widgets.SelectionSlider(
            options=list(first), description=explorer.slider, style=described, layout=widgets.Layout(width="480px")
        )
        self.words, self.table = widgets.HTML(), widgets.HTML()
        self.words.add_class("vx-words")
        self.figure = explorer.canvas()
        self._drawn: list[Mapping[str, Any]] = [{} for _ in [*self.figure.data, self.figure.layout]]
        self._settle()
        # A widget that is changed before the page has drawn it loses there what the change does not name.
        self.figure = WholeFigure(self.figure)
        for control in (*self.menus, self.slider):
            control.observe(self._take_choice, names="value")
        controls = widgets.HBox([*self.menus, self.slider], layout=_WRAPPED)
        super().__init__([widgets.HTML(theme_style()), FitWidth(), controls, self.words, self.figure, self.table])

    @property
    def choice(self) -> Choice:
        """What the menus say."""
        return tuple(menu.value for menu in self.menus)

    def _take_choice(self, change: Any) -> None:
        if not self._settling:
            self._settle(narrow=change["owner"] is not self.slider)

    def _settle(self, narrow: bool = True) -> None:
        """Offer what the choice leaves, keeping what still is there, and show it."""
        self._settling = True
        try:
            if narrow:
                self._narrow()
        finally:
            self._settling = False
        self._show(self._view())

    def _view(self) -> View:
        place = (self.choice, self.slider.index)
        if place not in self._views:
            self._views[place] = self._explorer.view(self.choice, self.slider.value)
        return self._views[place]

    def _narrow(self) -> None:
        taken: Choice = ()
        for i, menu in enumerate(self.menus):
            left = tuple(dict.fromkeys(choice[i] for choice in self._offered if choice[:i] == taken))
            value = menu.value if menu.value in left else left[0]
            if menu.options != left:
                menu.options = left
            menu.value = value
            taken = (*taken, value)
        stops, said = list(self._offered[taken]), self.slider.label
        if list(self.slider.options) != stops:
            self.slider.options = stops
            labels = [label for label, _ in stops]
            self.slider.index = labels.index(said) if said in labels else 0

    def _show(self, view: View) -> None:
        self.words.value = "<br>".join(view.words)
        self.table.value = "" if view.table is None else _html(view.table)
        self._draw(view.traces, view.layout)

    def _draw(self, traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> None:
        """Set what is not so yet: every value that is set costs a check by plotly, whether it changes or not."""
        drawn, self._drawn = self._drawn, [*traces, layout]
        with self.figure.batch_update():
            for part, old, new in zip([*self.figure.data, self.figure.layout], drawn, self._drawn, strict=True):
                for path, value in new.items():
                    if not (path in old and same(old[path], value)):
                        part[path] = value


def _html(table: pd.DataFrame) -> str:
    return str(table.to_html(index=False, border=0, justify="left", classes="vx-table"))
