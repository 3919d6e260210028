"""Error bars, the same in every figure: how thick they are, how wide their ends, in which colour."""

from typing import Any

import pandas as pd


def error_bars(
    value: "pd.Series[float]",
    low: "pd.Series[float]",
    high: "pd.Series[float]",
    colour: str,
    *,
    unit: float = 1,
    faint: bool = False,
) -> dict[str, Any]:
    """Return plotly's ``error_x`` or ``error_y`` from low to high; where an end is missing, there is no bar.

    Args:
        value: where the marks stand.
        low: the bars' lower ends.
        high: their upper ends.
        colour: the marks' own.
        unit: by which the axis multiplies all three.
        faint: whether they are thin, among lines or beside other bars.
    """
    lengths = {"array": unit * (high - value), "arrayminus": unit * (value - low)}
    return bar_look(colour, faint) | {"symmetric": False, **lengths}


def bar_look(colour: str | None = None, faint: bool = False) -> dict[str, Any]:
    """Return the look of error bars without their lengths; without a colour they have their marks'."""
    own = {"thickness": 1, "width": 2} if faint else {"thickness": 1.5, "width": 4}
    return {"type": "data", **own, **({"color": colour} if colour else {})}
