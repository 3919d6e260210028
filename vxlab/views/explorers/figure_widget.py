"""A plotly figure as a widget: slow pages draw it as well, it hears of every change, and is as wide as its cell."""

from pathlib import Path
from typing import Any

import anywidget
import plotly
import plotly.graph_objects as go
import traitlets

from vxlab.views.style import plotly_config

_PLOTLY = Path(plotly.__file__).parent / "package_data" / "widgetbundle.js"
_DRAW_WITH_PLOTLY = """
const load = (model) => {
  const script = new Blob([model.get("_plotly")], { type: "text/javascript" });
  return (window.vxlabPlotly ??= import(URL.createObjectURL(script)));
};
export default {
  async render({ model, el }) {
    const figure = (await load(model)).default();
    figure.initialize({ model });
    return figure.render({ model, el });
  },
};
"""
_FIT = """
export default {
  render({ el }) {
    const fit = new ResizeObserver(() => window.dispatchEvent(new Event("resize")));
    fit.observe(el);
    return () => fit.disconnect();
  },
};
"""


class WholeFigure(go.FigureWidget):  # type: ignore[misc] # plotly says nothing of its types
    """A FigureWidget that opens with all of its data, layout and settings, and loads plotly.js once a page.

    plotly's own opens empty and sends them afterwards, and each one brings 5 MB of script, which anywidget gives two
    seconds to start. A page that takes longer draws what it has got by then, and never hears of the rest: beside a
    training, most figures stay empty or stand still. Here the script that must start in time is a few lines.

    Args:
        figure: to show.
    """

    _esm = _DRAW_WITH_PLOTLY
    _plotly = traitlets.Unicode(_PLOTLY.read_text(encoding="utf-8")).tag(sync=True)
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

    def keep_for_reload(self) -> None:
        """Let a page that is loaded again draw the figure as it is now; else it draws what the figure opened with."""
        self._repr_mimebundle_()  # with which plotly fills what a page starts from


class FitWidth(anywidget.AnyWidget):
    """Nothing to see: tells the figures of a page, which listen to its window, when their cell changes its width.

    Without it they would keep the 700 pixels of plotly's widget. It stands in the box that the figures are in; they
    need ``responsive`` in their configuration.
    """

    _esm = _FIT
