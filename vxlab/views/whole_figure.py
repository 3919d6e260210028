"""A plotly figure as a widget that a page cannot draw before it has all of it."""

from typing import Any

import plotly.graph_objects as go

from vxlab.views.look import plotly_config


class WholeFigure(go.FigureWidget):  # type: ignore[misc] # plotly says nothing of its types
    """A FigureWidget whose first message to the page holds its data, layout and settings.

    plotly's own opens empty and sends them afterwards. A page that is slow to load plotly.js draws what it has got by
    then, and never hears of the rest: on a loaded machine most figures stay empty.

    Args:
        figure: to show.
    """

    _complete = False

    def __init__(self, figure: go.Figure) -> None:
        super().__init__(figure)
        self._config: dict[str, Any] = plotly_config(self.to_dict())
        self._complete = True
        self.open()

    def open(self) -> None:
        """Tell the page of this widget; ipywidgets calls it when a widget is half made."""
        if self._complete:
            super().open()
