"""Plotly figures of models that write: what each candidate gains in every metric, and texts side by side."""

import html
import textwrap

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments.candidates import IN_POINTS
from vxlab.experiments.scoring import LEVEL, in_words
from vxlab.views.style import COLOURS, GREY, INK, apply_style, draws_text, error_bars, escape, lay_panels, name_once

_WIDTH = 90
"""Characters of a line in a table of texts."""


@draws_text
def metric_gains(table: pd.DataFrame) -> go.Figure:
    """Draw each candidate's score less the untuned base's with its 95 % interval, a panel for each metric.

    Args:
        table: from ``metric_scores``.
    """
    shown = table.dropna(subset=["gain"])
    metrics = list(dict.fromkeys(shown["metric"]))
    names = list(dict.fromkeys(shown["candidate"]))
    rows, places = lay_panels(len(metrics))
    titles = [f"{in_words(metric)}{', points' if metric in IN_POINTS else ''}" for metric in metrics]
    figure = make_subplots(
        **rows, shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.04, vertical_spacing=0.2
    )
    for metric, place in zip(metrics, places, strict=True):
        own, unit = shown[shown["metric"] == metric], 100 if metric in IN_POINTS else 1
        for told, colour, symbol in ((True, COLOURS[1], "diamond"), (False, GREY, "circle-open")):
            part = own[(own["p_holm"] <= LEVEL) == told]
            bars = error_bars(part["gain"], part["gain_low"], part["gain_high"], colour, unit=unit)
            figure.add_scatter(
                x=unit * part["gain"], y=part["candidate"], mode="markers", error_x=bars,
                marker={"color": colour, "symbol": symbol, "size": 9},
                name="told apart from the base (after Holm's correction)" if told else "not told apart", **place,
            )  # fmt: skip
        figure.add_vline(x=0, line={"color": INK, "width": 1}, **place)
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.7, len(names) - 0.3])
    for place in places[-rows["cols"] :]:
        figure.update_xaxes(title="gain over the untuned base", **place)
    name_once(figure)
    apply_style(figure, height=170 + rows["rows"] * (90 + 26 * len(names)), name="gains by metric")
    return figure.update_layout(margin={"t": 90}, legend={"y": 1, "yref": "container", "yanchor": "top"})


@draws_text
def samples_chooser(table: pd.DataFrame) -> go.Figure:
    """Draw a table of texts with a menu that chooses the input: who wrote, and what.

    Args:
        table: from ``samples_table``, or from another one with ``input`` (a number or a name), ``who`` and ``text``.
    """
    figure = go.Figure()
    inputs = list(dict.fromkeys(table["input"]))
    cells = {number: _cells(table[table["input"] == number]) for number in inputs}
    who, text = cells[inputs[0]]
    figure.add_table(
        columnwidth=[1, 5],
        header={"values": ["<b>who</b>", "<b>text</b>"], "align": "left", "fill_color": "rgba(127,127,127,0.18)"},
        cells={"values": [who, text], "align": "left", "fill_color": "rgba(0,0,0,0)", "height": 24},
    )
    buttons = [
        {
            "label": number if isinstance(number, str) else f"input {number + 1}",
            "method": "restyle",
            "args": [{"cells.values": [list(cells[number])]}],
        }
        for number in inputs
    ]
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "showactive": True}
    lines = max(sum(each.count("<br>") + 1 for each in texts) for _, texts in cells.values())
    apply_style(figure, height=150 + 22 * lines + 10 * len(who), legend=False, name="samples")
    figure.update_layout(updatemenus=[menu], margin={"t": 70, "l": 10, "r": 10, "b": 10})
    return figure


def _cells(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    return list(rows["who"]), [_wrapped(text) for text in rows["text"]]


def _wrapped(text: str) -> str:
    """Return an escaped text in lines; an empty one is said."""
    parts = html.unescape(text).splitlines()  # no line may end within what stands for one character
    lines = [line for part in parts for line in textwrap.wrap(part, _WIDTH) or [""]]
    return "<br>".join(map(escape, lines)) or "<i>nothing</i>"
