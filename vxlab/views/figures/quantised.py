"""Plotly figures of quantised bases: scores by scheme, what holds the memory, bases that turn, what merging loses."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments.candidates import IN_POINTS
from vxlab.experiments.scoring import in_words
from vxlab.studies.quantised import FLOAT, HOLDERS, STEP
from vxlab.views.style import (
    COLOURS,
    GREY,
    INK,
    PAPER,
    apply_style,
    draws_text,
    error_bars,
    lay_panels,
    look,
    name_once,
)

_PATTERNS = ("", "/", "x", ".", "\\", "-")
_HELD = {
    "linear": "linear weights of the blocks", "scales": "their scales", "embeddings": "embeddings",
    "head": "head or output layer", "rest": "norms, biases, buffers",
}  # fmt: skip
_PARTS = {"weights": "the base, with its scales", **{name: name for name in STEP if name != "peak"}}
_MEBI = 2**20


@draws_text
def scores_by_scheme(scores: pd.DataFrame, *, metric: str, trivial: float | None = None) -> go.Figure:
    """Draw each method's score on each base, with small dots for single runs.

    The bar of a quantised base is the 95 % interval of its score less that on the float base, laid on at the latter,
    where a line stands: a bar that crosses the line is not told apart from it, before any correction.

    Args:
        scores: from ``scheme_scores``.
        metric: whose scores they are.
        trivial: score of the simplest answer.
    """
    figure, unit = go.Figure(), 100 if metric in IN_POINTS else 1
    names, schemes = list(dict.fromkeys(scores["candidate"])), list(dict.fromkeys(scores["scheme"]))
    for number, scheme in enumerate(schemes):
        own = scores[scores["scheme"] == scheme].dropna(subset=["score"])
        offset = (number - (len(schemes) - 1) / 2) * -0.24
        heights = [names.index(name) * -1.0 + offset for name in own["candidate"]]
        marks = look(number)["marker"]
        runs = [
            (unit * score, y) for y, each in zip(heights, own["scores"], strict=True) for score in each if len(each) > 1
        ]
        figure.add_scatter(
            x=[x for x, _ in runs], y=[y for _, y in runs], mode="markers", hoverinfo="skip", name="a run",
            marker={"color": GREY, "size": 4, "opacity": 0.7},
        )  # fmt: skip
        base = own["score"] - own["change"]
        bars = error_bars(own["score"], base + own["low"], base + own["high"], marks["color"], unit=unit)
        figure.add_scatter(x=unit * own["score"], y=heights, mode="markers", name=scheme, marker=marks, error_x=bars)
    for row in scores[scores["scheme"] == FLOAT].dropna(subset=["score"]).to_dict("records"):
        y = -1.0 * names.index(row["candidate"])
        figure.add_scatter(
            x=[unit * row["score"]] * 2, y=[y - 0.42, y + 0.42], mode="lines", hoverinfo="skip",
            line={"color": INK, "width": 1.2}, name=f"on {FLOAT}",
        )  # fmt: skip
    if trivial is not None:
        figure.add_vline(x=unit * trivial, line={"color": GREY, "dash": "dash", "width": 1.2})
        line = {"color": GREY, "dash": "dash", "width": 1.2}
        figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name="simplest answer")
    name_once(figure)
    figure.update_yaxes(tickvals=[-i for i in range(len(names))], ticktext=names, range=[0.6 - len(names), 0.6])
    title = f"test {in_words(metric)}{', %' if metric in IN_POINTS else ''}, mean over seeds"
    figure.update_xaxes(title=title)
    return apply_style(figure, height=170 + 80 * len(names), name="scores by base")


@draws_text
def changed_orders(orders: pd.DataFrame, *, metric: str) -> go.Figure:
    """Draw how far the difference of each two methods moves from the float base to a quantised one.

    Args:
        orders: from ``order_changes``.
        metric: whose scores they are.
    """
    unit = 100 if metric in IN_POINTS else 1
    figure = go.Figure()
    shown = orders.assign(pair=orders["a"] + " − " + orders["b"] + ", " + orders["scheme"])
    looks = ((True, "shown to move (after Holm's correction)", COLOURS[1], "diamond"),
             (False, "not shown to move", GREY, "circle-open"))  # fmt: skip
    for seen, name, colour, symbol in looks:
        own = shown[shown["seen"] == seen]
        bars = error_bars(own["shift"], own["low"], own["high"], colour, unit=unit)
        marker = {"color": colour, "symbol": symbol, "size": 9}
        figure.add_scatter(x=unit * own["shift"], y=own["pair"], mode="markers", error_x=bars, marker=marker, name=name)
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    points = ", points" if metric in IN_POINTS else ""
    figure.update_xaxes(title=f"difference on the quantised base less that on {FLOAT}{points}, with its 95 % interval")
    figure.update_yaxes(categoryorder="array", categoryarray=list(shown["pair"])[::-1], dtick=1)
    figure.update_yaxes(range=[-0.7, len(shown) - 0.3])
    return apply_style(figure, height=160 + 28 * max(len(shown), 2), name="changed orders")


@draws_text
def weights_by_holder(memory: pd.DataFrame) -> go.Figure:
    """Draw what holds the bytes of each base: one bar a scheme.

    Args:
        memory: from ``memory_by_scheme``.
    """
    bases = memory.drop_duplicates("scheme")[::-1]
    figure = _stacked(bases, bases["scheme"], {name: _HELD[name] for name in HOLDERS})
    figure.update_xaxes(title="MiB of the base")
    return apply_style(figure, height=190 + 40 * len(bases), name="weights by holder")


@draws_text
def step_by_scheme(memory: pd.DataFrame) -> go.Figure:
    """Draw what a training step holds on each base: one bar a method and scheme, a diamond at the step's peak.

    Args:
        memory: from ``memory_by_scheme``.
    """
    rows = memory[::-1]
    names = rows["candidate"] + ", " + rows["scheme"]
    figure = _stacked(rows, names, _PARTS)
    diamond = {"color": INK, "symbol": "diamond", "size": 9, "line": {"color": PAPER, "width": 1}}
    figure.add_scatter(x=rows["peak"] / _MEBI, y=names, mode="markers", marker=diamond, name="peak of them together")
    figure.update_xaxes(title="MiB in a training step")
    return apply_style(figure, height=190 + 28 * len(rows), name="step memory by base")


@draws_text
def turned_by_rank(angles: pd.DataFrame, side: str = "input") -> go.Figure:
    """Draw principal angles between the float base's and the quantised bases' top subspaces by rank, a panel a role.

    Filled marks are the median angle, hollow ones the largest, both means over the blocks.

    Args:
        angles: from ``turned_bases``.
        side: ``output`` or ``input``.
    """
    own = angles[angles["side"] == side]
    roles, schemes = list(dict.fromkeys(own["role"])), list(dict.fromkeys(own["scheme"]))
    rows, places = lay_panels(len(roles))
    figure = make_subplots(
        **rows, shared_yaxes="all", shared_xaxes="all", subplot_titles=[f"<b>{role}</b>" for role in roles],
        horizontal_spacing=0.04, vertical_spacing=0.2 / rows["rows"],
    )  # fmt: skip
    for role, place in zip(roles, places, strict=True):
        panel = own[own["role"] == role]
        for i, scheme in enumerate(schemes):
            mean = panel[panel["scheme"] == scheme].groupby("rank", as_index=False)[["median", "largest"]].mean()
            for column, hollow in (("median", ""), ("largest", "-open")):
                style: dict[str, Any] = look(i)
                style["marker"] = style["marker"] | {"symbol": style["marker"]["symbol"] + hollow}
                style["line"] = style["line"] | {"width": 1 if hollow else 2}
                figure.add_scatter(
                    x=mean["rank"], y=mean[column], mode="lines+markers", name=f"{scheme}, {column}", **style, **place
                )
        chance = panel.groupby("rank", as_index=False)["chance"].mean()
        line = {"color": GREY, "dash": "2px,5px", "width": 1.5}
        figure.add_scatter(
            x=chance["rank"], y=chance["chance"], mode="lines", line=line, name="chance, median", **place
        )
    name_once(figure)
    ranks = sorted(own["rank"].unique())
    figure.update_xaxes(type="log", tickvals=ranks, ticktext=[str(rank) for rank in ranks], showticklabels=True)
    for place in places[-rows["cols"] :]:
        figure.update_xaxes(title="rank r", **place)
    figure.update_yaxes(title=f"degrees, {side} side", col=1)
    figure.update_yaxes(range=[-2, 92], dtick=30)
    apply_style(figure, height=170 + 220 * rows["rows"], name=f"turned bases {side}")
    return figure.update_layout(margin={"t": 110}, legend={"y": 1, "yref": "container", "yanchor": "top"})


@draws_text
def update_lost(layers: pd.DataFrame) -> go.Figure:
    """Draw the error of merged weights as a share of the update: a mark a layer, in floating point and requantised.

    Args:
        layers: from ``merging_costs``.
    """
    figure = go.Figure()
    names = list(dict.fromkeys(layers["candidate"] + ", " + layers["scheme"]))
    own = layers.assign(name=layers["candidate"] + ", " + layers["scheme"])
    for i, (column, said) in enumerate((("rounded", "merged in float32"), ("lost", "merged and quantised again"))):
        marker = look(i)["marker"] | {"size": 6, "opacity": 0.6}
        figure.add_scatter(x=own[column], y=own["name"], mode="markers", marker=marker, name=said)
    figure.add_vline(x=1, line={"color": INK, "width": 1.2})
    figure.add_scatter(
        x=[None], y=[None], mode="lines", line={"color": INK, "width": 1.2}, name="as much as the update"
    )
    figure.update_xaxes(
        type="log", title="error of the merged weight ÷ ‖ΔW‖<sub>F</sub>", dtick=1, exponentformat="power"
    )
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    return apply_style(figure, height=180 + 36 * len(names), name="update lost")


def _stacked(rows: pd.DataFrame, names: "pd.Series[str]", parts: dict[str, str]) -> go.Figure:
    figure = go.Figure()
    for i, (column, name) in enumerate(parts.items()):
        colour = COLOURS[i % len(COLOURS)]
        figure.add_bar(
            x=rows[column] / _MEBI, y=names, orientation="h", name=name, width=0.7,
            marker={"color": colour, "pattern": {"shape": _PATTERNS[i], "fgcolor": PAPER, "size": 5}},
        )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=list(names))
    return figure.update_layout(barmode="stack", legend_traceorder="normal")
