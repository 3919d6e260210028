"""A Plotly figure of forgetting: gain on the trained task against the change on held-out tasks."""

import textwrap
from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments.scoring import in_words
from vxlab.studies.forgetting import MEAN_OF_TASKS
from vxlab.views.figures.sweep import looks_of
from vxlab.views.figures.verdict import difference_unit
from vxlab.views.style import GREY, INK, apply_style, draws_text, error_bars, lay_panels, look, name_once
from vxlab.words import write_number

_SHARES = ("acc", "acc_norm", "exact_match")
"""lm-eval's metrics that are told in points of a hundred."""
_SMALLEST, _STEP = 7, 4
_BASE = "untuned base"


@draws_text
def gain_against_loss(table: pd.DataFrame, *, metric: str) -> go.Figure:
    """Draw each candidate's gain on the trained task (x) against its change on held-out tasks (y), a panel a task.

    Both bars are 95 % intervals, the untuned base is the circled cross at (0, 0), and below the line tuning lost. A
    method has its colour and its shape; of its ranks the lowest is hollow, and the higher the larger.

    Args:
        table: from ``forgetting_table``.
        metric: of the trained task, whose gain is shown.
    """
    shown = table.dropna(subset=["gain", "difference"])
    tasks = list(dict.fromkeys(shown["task"]))
    rows, places = lay_panels(len(tasks), columns=2)
    titles = [_title(task, shown[shown["task"] == task]) for task in tasks]
    room = {"horizontal_spacing": 0.1, "vertical_spacing": 0.22 / max(1, rows["rows"] - 1)}
    alike = all(_scale(shown[shown["task"] == task]) == 100 for task in tasks)
    figure = make_subplots(**rows, subplot_titles=titles, shared_yaxes="all" if alike else False, **room)
    unit, name = difference_unit(metric)
    gained = f"gain on the trained task: {name} of {in_words(metric)}" if name else f"gain in {in_words(metric)}"
    gained = "<br>".join(textwrap.wrap(gained, 44, break_on_hyphens=False))
    for task, place in zip(tasks, places, strict=True):
        own = shown[shown["task"] == task]
        scale = _scale(own)
        for row, marker in _marked(own):
            one = pd.DataFrame([row])
            colour = marker["color"]
            figure.add_scatter(
                x=unit * one["gain"], y=scale * one["difference"], mode="markers", name=row["candidate"], marker=marker,
                error_x=error_bars(one["gain"], one["gain_low"], one["gain_high"], colour, unit=unit, faint=True),
                error_y=error_bars(one["difference"], one["low"], one["high"], colour, unit=scale, faint=True),
                hovertemplate=_hover(row, scale, unit, name), **place,
            )  # fmt: skip
        figure.add_scatter(
            x=[0], y=[0], mode="markers", name=_BASE, marker={"symbol": "circle-x-open", "size": 11, "color": INK},
            hovertemplate=f"{_BASE}: {write_number(own['base'].iloc[0], '.3f')}<extra></extra>", **place,
        )  # fmt: skip
        figure.add_hline(y=0, line={"color": GREY, "width": 1, "dash": "dash"}, **place)
        if place["col"] == 1 or not alike:
            figure.update_yaxes(title=f"change{', points' if scale == 100 else ''}", **place)
        figure.update_xaxes(title=gained, **place)
    name_once(figure)
    apply_style(figure, height=150 + 350 * rows["rows"], name="gain against loss")
    return figure.update_layout(margin={"t": 110}, legend={"y": 1, "yref": "container", "yanchor": "top"})


def _marked(rows: pd.DataFrame) -> Iterator[tuple[dict[Any, Any], dict[str, Any]]]:
    """Yield each row with its marker: colour and shape of its method, size by rank, the lowest of several hollow."""
    looks = looks_of(rows["method"])
    for method, own in rows.groupby("method", sort=False):
        style = look(looks[str(method)])["marker"]
        for number, row in enumerate(own.sort_values("rank").to_dict("records")):
            hollow = number == 0 and len(own) > 1
            symbol = f"{style['symbol']}-open" if hollow else style["symbol"]
            size = _SMALLEST + _STEP * (number if len(own) > 1 else 1)
            yield row, style | {"symbol": symbol, "size": size, "color": _colour(looks[str(method)])}


def _colour(i: int) -> str:
    return str(look(i)["line"]["color"])


def _scale(rows: pd.DataFrame) -> int:
    return 100 if rows["metric"].iloc[0] in _SHARES or rows["task"].iloc[0] == MEAN_OF_TASKS else 1


def _title(task: str, rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    base = write_number(_scale(rows) * first["base"], ".1f" if _scale(rows) == 100 else ".3f")
    what = task if task == MEAN_OF_TASKS else f"{task}, {first['metric']}"
    return f"{what} (base {base}, {first['items']} items)"


def _hover(row: dict[Any, Any], scale: int, unit: int, name: str) -> str:
    change, low, high = (write_number(scale * row[each], "+.1f") for each in ("difference", "low", "high"))
    gain, least, most = (write_number(unit * row[each], "+.3f") for each in ("gain", "gain_low", "gain_high"))
    return (
        f"<b>{row['candidate']}</b><br>{row['parameters']:,} parameters<br>gain {gain} {name} ({least} to {most})<br>"
        f"change {change} ({low} to {high})<extra></extra>"
    )
