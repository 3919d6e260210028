"""Plotly figures of very many adapters: bytes and times of a bank as it grows, mixed batches, and stacked training."""

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.studies.many import DECODE, PASS, PREFILL
from vxlab.views.style import (
    COLOURS,
    GREY,
    INK,
    apply_style,
    draws_text,
    error_bars,
    lay_panels,
    look,
    name_once,
)

_STAGES = {PASS: "", PREFILL: "prefill, ", DECODE: "decode, "}
_TIMES = (
    ("open_seconds", "opening the bank"), ("batch_seconds", "reading 64 adapters"), ("row_seconds", "reading one"),
)  # fmt: skip


@draws_text
def bank_bytes(growth: pd.DataFrame) -> go.Figure:
    """Draw a bank's bytes against its adapters, a line a method; hollow marks were not written.

    The dashed line is as many copies of the whole model.

    Args:
        growth: from ``bank_growth``.
    """
    figure = go.Figure()
    for i, (name, rows) in enumerate(growth.groupby("candidate", sort=False)):
        style: dict[str, Any] = look(i)
        symbol = style["marker"]["symbol"]
        symbols = [symbol if written else f"{symbol}-open" for written in rows["written"]]
        style["marker"] = style["marker"] | {"symbol": symbols}
        figure.add_scatter(x=rows["adapters"], y=rows["file_bytes"], mode="lines+markers", name=str(name), **style)
    hollow = {"color": GREY, "symbol": "circle-open", "size": 9}
    if not growth["written"].all():
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=hollow, name="not written, in proportion")
    copies = growth.drop_duplicates("adapters").sort_values("adapters")
    line = {"color": GREY, "dash": "dash", "width": 1.5}
    figure.add_scatter(
        x=copies["adapters"], y=copies["copy_bytes"], mode="lines", line=line, name="whole models, tuned in full"
    )
    _adapters_axis(figure, growth)
    figure.update_yaxes(type="log", title="bytes on disk", tickformat=".0s", ticksuffix="B", dtick=1)
    return apply_style(figure, height=470, name="bank bytes")


@draws_text
def bank_times(growth: pd.DataFrame) -> go.Figure:
    """Draw how long a bank takes to open and to give adapters, against how many it holds, a panel a method.

    Args:
        growth: from ``bank_growth``.
    """
    written = growth[growth["written"]]
    names = list(dict.fromkeys(written["candidate"]))
    rows, places = lay_panels(max(1, len(names)))
    figure = make_subplots(
        **rows, shared_yaxes="all", shared_xaxes="all", subplot_titles=[f"<b>{name}</b>" for name in names],
        horizontal_spacing=0.05,
    )  # fmt: skip
    for name, place in zip(names, places, strict=False):
        own = written[written["candidate"] == name]
        for i, (column, said) in enumerate(_TIMES):
            figure.add_scatter(
                x=own["adapters"], y=1000 * own[column], mode="lines+markers", name=said, **look(i), **place
            )
    name_once(figure)
    _adapters_axis(figure, growth)
    times = 1000 * written[[column for column, _ in _TIMES]].to_numpy()
    low, high = (times.min(), times.max()) if times.size else (1, 10)
    figure.update_yaxes(type="log", range=[math.floor(math.log10(low)), math.ceil(math.log10(high))], dtick=1)
    figure.update_yaxes(title="milliseconds, median", tickformat=",~g", col=1)
    apply_style(figure, height=430, name="bank times")
    return figure.update_layout(margin={"t": 80}, legend={"y": 1, "yref": "container", "yanchor": "top"})


@draws_text
def mixed_speed(throughput: pd.DataFrame) -> go.Figure:
    """Draw how fast a mixed batch is beside one adapter's (1) and how fast PEFT's is, with 95 % intervals.

    Args:
        throughput: from ``throughput_table``.
    """
    figure = go.Figure()
    names = [_batch_name(row) for row in throughput.to_dict("records")]
    marks = look(0)["marker"]
    bars = error_bars(throughput["speed"], throughput["speed_low"], throughput["speed_high"], marks["color"])
    figure.add_scatter(
        x=throughput["speed"], y=names, mode="markers", error_x=bars, marker=marks,
        name="every row its own adapter, out of the bank",
    )  # fmt: skip
    theirs = throughput["one"] / throughput["peft"]
    if theirs.notna().any():
        drawn = theirs.notna()
        own = [name for name, shown in zip(names, drawn, strict=True) if shown]
        figure.add_scatter(
            x=theirs[drawn], y=own, mode="markers", marker=look(1)["marker"], name="the same with PEFT's"
        )
    figure.add_vline(x=1, line={"color": INK, "width": 1.2})
    figure.add_scatter(
        x=[None], y=[None], mode="lines", line={"color": INK, "width": 1.2}, name="one adapter for all rows"
    )
    figure.update_xaxes(title="speed, that of one adapter's batch being 1", rangemode="tozero")
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.7, len(names) - 0.3])
    return apply_style(figure, height=190 + 30 * max(2, len(names)), name="mixed batches")


@draws_text
def stacking_speed(pace: pd.DataFrame) -> go.Figure:
    """Draw how many times as fast runs train in one pass, against the tokens of a run's step, a panel a method.

    Args:
        pace: from ``pace_table``.
    """
    timed = pace[pace["times_faster"].notna()]
    timed = timed.assign(step=timed["texts"] * timed["tokens"]).sort_values("step")
    names = list(dict.fromkeys(pace["candidate"]))
    rows, places = lay_panels(max(1, len(names)))
    figure = make_subplots(
        **rows, shared_yaxes="all", subplot_titles=[f"<b>{name}</b>" for name in names], horizontal_spacing=0.05
    )
    for name, place in zip(names, places, strict=True):
        own = timed[timed["candidate"] == name]
        for i, width in enumerate(sorted(own["width"].unique())):
            line = own[own["width"] == width]
            bars = error_bars(
                line["times_faster"], line["times_faster_low"], line["times_faster_high"], COLOURS[i], faint=True
            )
            figure.add_scatter(
                x=line["step"], y=line["times_faster"], mode="lines+markers", error_y=bars,
                name=f"{width} runs in one pass", **look(i), **place,
            )  # fmt: skip
    name_once(figure)
    figure.add_hline(y=1, line={"color": INK, "width": 1.2})
    steps = {
        int(row["step"]): f"{row['texts']}×{row['tokens']}"
        for row in timed.drop_duplicates(["texts", "tokens"]).to_dict("records")
    }
    figure.update_xaxes(type="log", tickvals=list(steps), ticktext=list(steps.values()), showticklabels=True)
    figure.update_xaxes(title="texts × tokens of a run's step", tickangle=0)
    figure.update_yaxes(title="times as fast as<br>one run after the other", col=1)
    apply_style(figure, height=430, name="stacked training")
    return figure.update_layout(margin={"t": 80}, legend={"y": 1, "yref": "container", "yanchor": "top"})


def _adapters_axis(figure: go.Figure, growth: pd.DataFrame) -> None:
    sizes = sorted(set(growth["adapters"]))
    ticks = {"tickvals": sizes, "ticktext": [_short(size) for size in sizes], "showticklabels": True}
    edges = [math.log10(sizes[0]) - 0.2, math.log10(sizes[-1]) + 0.2]
    figure.update_xaxes(type="log", title="adapters", range=edges, **ticks)


def _short(size: int) -> str:
    """Return a number of adapters as a tick has it.

    >>> _short(1000), _short(2_000_000), _short(64)
    ('1k', '2M', '64')
    """
    for unit, mark in ((10**6, "M"), (10**3, "k")):
        if size % unit == 0:
            return f"{size // unit:,}{mark}"
    return f"{size:,}"


def _batch_name(row: Any) -> str:
    tokens = "a token a row" if row["stage"] == DECODE else f"{row['tokens']} tokens a row"
    return f"{row['candidate']}, {_STAGES[row['stage']]}{tokens}"
