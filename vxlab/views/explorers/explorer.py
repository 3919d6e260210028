"""An explorer: what a reader chooses, and what each choice shows. Two faces over the same data.

Widgets in a live notebook (:mod:`vxlab.views.explorers.widget`), and a precomputed plotly figure with its own menu and
slider (:mod:`vxlab.views.explorers.offline`), which works in an exported page without a kernel.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pandas as pd
import plotly.graph_objects as go

Choice = tuple[str, ...]
"""An option of each menu, in the menus' order."""
Stop = tuple[str, Any]
"""A place of the slider: what it says, and its value."""


class View(NamedTuple):
    """What a choice shows."""

    traces: Sequence[Mapping[str, Any]]
    """Of every trace of the canvas, in its order, what differs from choice to choice, such as ``{"y": [...]}`` or
    ``{"marker.size": [...]}``. A trace has the same keys in every view. Texts are in plotly's HTML."""
    words: Sequence[str]
    """Lines in plotly's HTML (b, i, sub, sup), names in them escaped; a page breaks the long ones."""
    layout: Mapping[str, Any] = {}
    """Changes to the layout by path, such as ``{"shapes[0].x0": 0.25}``; the same keys in every view."""
    table: pd.DataFrame | None = None
    """Rows in words, as plain text; the first is the chosen one's own."""


class Explorer(Protocol):
    """What both faces ask for. Everything slow happens before: a view is looked up, or computed in milliseconds."""

    @property
    def menus(self) -> Sequence[str]:
        """Names of the menus."""

    @property
    def slider(self) -> str:
        """Name of the slider."""

    def offered(self) -> Mapping[Choice, Sequence[Stop]]:
        """Return the slider's stops for each choice from the menus; a menu offers what the ones before it leave."""

    def canvas(self) -> go.Figure:
        """Return the styled figure, empty, with every trace that a view changes, in the views' order."""

    def view(self, choice: Choice, stop: Any) -> View:
        """Return what a choice and a stop's value show."""


def same(one: Any, other: Any) -> bool:
    """Say whether two values of a view are known to be equal: then none needs to be set or stored again."""
    try:
        return bool(one == other)
    except ValueError:  # arrays do not say
        return False


def short(value: Any, digits: int = 4) -> float | None:
    """Return a number of so many significant digits, for a figure's file; None, which leaves a gap, for NaN or None.

    >>> short(0.123456), short(float("nan"))
    (0.1235, None)
    """
    return None if pd.isna(value) else float(f"{value:.{digits}g}")


def spread(items: list[Any], most: int) -> list[Any]:
    """Return at most so many of the items, evenly spread from the first to the last.

    >>> spread(list(range(100)), 4)
    [0, 33, 66, 99]
    """
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
