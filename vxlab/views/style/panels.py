"""Figures of several panels: each headed by its title and a legend of its own, or with one legend for all."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.views.style.theme import apply_style

SMALL = {"size": 11}
_LEGEND = 40  # pixels from a panel up to its title


def four_panels() -> go.Figure:
    """Return an empty figure of two rows and two columns, with room between them for titles and legends."""
    return make_subplots(rows=2, cols=2, horizontal_spacing=0.17, vertical_spacing=0.25)


def head_panels(figure: go.Figure, titles: Sequence[str]) -> go.Figure:
    """Give four panels the house's look and their titles; a trace of ``legend2`` is named above the second panel.

    Args:
        figure: from :func:`four_panels`, with its traces and axes' titles.
        titles: in plotly's HTML, from the top left to the bottom right.
    """
    apply_style(figure, height=650)
    figure.update_layout(margin={"t": 78, "r": 70}, font_size=12)
    figure.for_each_xaxis(lambda axis: axis.title.update(font_size=12, standoff=8))
    figure.for_each_yaxis(lambda axis: axis.title.update(font_size=12, standoff=4))
    inner = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    right, lower = figure.layout.xaxis2.domain[0], figure.layout.yaxis3.domain[1]
    for i, title in enumerate(name_panels(titles).values()):
        x, y = (right if i % 2 else 0.0), (lower if i > 1 else 1.0)
        figure.add_annotation(
            text=title, x=x, y=y, xref="paper", yref="paper", xanchor="left", yanchor="bottom",
            yshift=_LEGEND, showarrow=False, font_size=13,
        )  # fmt: skip
        # Under its title, with room for a second row in a narrow window.
        place = {"orientation": "h", "x": x, "y": y + _LEGEND / inner, "yanchor": "top", "xanchor": "left"}
        place |= {"font": SMALL}
        figure.update_layout({"legend" if i == 0 else f"legend{i + 1}": place})
    return figure


def name_panels(titles: Sequence[str]) -> dict[str, str]:
    """Return the changes to the layout of :func:`head_panels`' figure that give its panels these titles."""
    return {f"annotations[{i}].text": f"<b>{title}</b>" for i, title in enumerate(titles)}


def name_once(figure: go.Figure) -> None:
    """Show each name once in the legend, and none without a point; a click on it shows or hides it in every panel."""
    seen: set[str] = set()
    for trace in figure.data:
        drawn = len(trace.x) > 0
        trace.update(legendgroup=trace.name, showlegend=drawn and trace.name not in seen)
        seen |= {trace.name} if drawn else set()


def lay_panels(number: int, columns: int = 3) -> tuple[dict[str, int], list[dict[str, int]]]:
    """Return the rows and columns that so many panels take, for plotly's subplots, and the place of each.

    >>> lay_panels(2), lay_panels(4)[0]
    (({'rows': 1, 'cols': 2}, [{'row': 1, 'col': 1}, {'row': 1, 'col': 2}]), {'rows': 2, 'cols': 3})
    """
    columns = min(columns, number)
    places = [{"row": i // columns + 1, "col": i % columns + 1} for i in range(number)]
    return {"rows": places[-1]["row"], "cols": columns}, places
