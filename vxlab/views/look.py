"""One look for every figure: palette, marks, template, and how it turns on a dark page."""

from pathlib import Path
from typing import Any

import plotly.graph_objects as go

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
"""Okabe and Ito's palette, told apart by colour-blind readers; symbols and dashes differ too."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
GREY, INK = "#555555", "#222222"
"""Of text and marks that carry no series' colour; the theme turns them light on a dark page."""
PAPER, CHOSEN = "#ffffff", "#e8f0f7"
"""Behind a table's cells, and behind those of its chosen row."""


def look(i: int) -> dict[str, Any]:
    """Return the line and marker of the i-th series."""
    colour = COLOURS[i % len(COLOURS)]
    return {
        "line": {"color": colour, "dash": DASHES[i % len(DASHES)]},
        "marker": {"color": colour, "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 9},
    }


def styled(figure: go.Figure, height: int, legend: bool = True) -> go.Figure:
    """Give a figure the house's look and return it."""
    figure.update_layout(
        template="plotly_white", height=height, margin={"l": 70, "r": 30, "t": 40, "b": 60}, showlegend=legend,
        legend={"orientation": "h", "y": 1.03, "yanchor": "bottom", "x": 0}, font={"size": 14, "color": INK},
    )  # fmt: skip
    figure.update_xaxes(automargin=True, showline=True, linecolor="#999999")
    figure.update_yaxes(automargin=True, showline=True, linecolor="#999999")
    return figure


def theme_style() -> str:
    """Return the ``<style>`` that gives plotly figures and vxlab's tables the colours of a dark JupyterLab."""
    return f"<style>{(Path(__file__).parent / 'theme.css').read_text(encoding='utf-8')}</style>"
