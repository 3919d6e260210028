"""Plotly figures of a few images a class: scores by shots, gains over the probe, confusions, blocks that moved."""

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments.candidates import IN_POINTS
from vxlab.experiments.scoring import in_words
from vxlab.studies.images import confused_pairs
from vxlab.views.figures.sweep import looks_of
from vxlab.views.style import (
    COLOURS,
    GREY,
    INK,
    ON_HEAT,
    apply_style,
    draws_text,
    error_bars,
    lay_panels,
    look,
    name_once,
)
from vxlab.words import number_of

MATRIX = 30
"""Classes, up to which a matrix is drawn; of more, the pairs that are confused most often."""
_WRITTEN = 15
"""Classes, up to which the numbers are written into it."""
_HEAT = ((0.0, "#f7f7f7"), (1.0, "#f08a5d"))


@draws_text
def scores_by_shots(scores: pd.DataFrame, *, metric: str, trivial: float | None = None) -> go.Figure:
    """Draw each method's score against the number of shots, with its 95 % interval; small dots are single draws.

    Args:
        scores: from ``shot_scores``.
        metric: whose scores they are.
        trivial: score of the simplest answer.
    """
    figure, unit = go.Figure(), 100 if metric in IN_POINTS else 1
    shown = scores.dropna(subset=["score"])
    names, shots = looks_of(shown["candidate"].map(_family(shown))), sorted(shown["shots"].unique())
    candidates = list(dict.fromkeys(shown["candidate"]))
    dots: list[tuple[float, float]] = []
    for place, candidate in enumerate(candidates):
        own = shown[shown["candidate"] == candidate].sort_values("shots")
        aside = 1.035 ** (place - (len(candidates) - 1) / 2)  # or intervals would lie on each other
        style = look(names[str(own["method"].iloc[0])])
        bars = error_bars(own["score"], own["low"], own["high"], style["line"]["color"], unit=unit, faint=True)
        figure.add_scatter(
            x=own["shots"] * aside, y=unit * own["score"], mode="lines+markers", error_y=bars, name=candidate, **style,
            customdata=own["shots"], hovertemplate=f"{candidate}, %{{customdata}} shots: %{{y:.1f}}<extra></extra>",
        )  # fmt: skip
        dots += [
            (row["shots"] * aside, unit * score)
            for row in own.to_dict("records")
            for score in row["scores"]
            if len(row["scores"]) > 1
        ]
    figure.add_scatter(
        x=[x for x, _ in dots], y=[y for _, y in dots], mode="markers", hoverinfo="skip", name="one draw's run",
        marker={"color": GREY, "size": 4, "opacity": 0.6},
    )  # fmt: skip
    if trivial is not None:
        line = {"color": GREY, "dash": "dash", "width": 1.2}
        ends = [shots[0] / 1.2, shots[-1] * 1.2]
        figure.add_scatter(x=ends, y=[unit * trivial] * 2, mode="lines", line=line, name="simplest answer")
    ticks = [int(each) for each in shots]
    figure.update_xaxes(
        type="log", tickvals=ticks, ticktext=list(map(str, ticks)), title="training images of each class"
    )
    figure.update_yaxes(title=f"test {in_words(metric)}{', %' if metric in IN_POINTS else ''}, mean over draws")
    return apply_style(figure, height=560, name="scores by shots")


@draws_text
def gains_by_shots(gains: pd.DataFrame, *, metric: str) -> go.Figure:
    """Draw each method's score less that of the frozen model's probe, with its 95 % interval, a panel for each number
    of shots.

    Args:
        gains: from ``shot_gains``.
        metric: whose scores they are.
    """
    shown, unit = gains.dropna(subset=["gain"]), 100 if metric in IN_POINTS else 1
    several, names = sorted(shown["shots"].unique()), list(dict.fromkeys(shown["candidate"]))
    rows, places = lay_panels(max(1, len(several)))
    titles = [f"<b>{number_of(int(each), 'shot')}</b>" for each in several]
    figure = make_subplots(
        **rows, shared_yaxes=True, shared_xaxes="all", subplot_titles=titles, horizontal_spacing=0.04,
        vertical_spacing=0.25 / rows["rows"],
    )  # fmt: skip
    looks = ((True, "told apart from the probe (after Holm's correction)", COLOURS[1], "diamond"),
             (False, "not told apart", GREY, "circle-open"))  # fmt: skip
    for number, place in zip(several, places, strict=False):
        own = shown[shown["shots"] == number]
        for seen, name, colour, symbol in looks:
            part = own[own["seen"] == seen]
            bars = error_bars(part["gain"], part["low"], part["high"], colour, unit=unit)
            marker = {"color": colour, "symbol": symbol, "size": 9}
            figure.add_scatter(
                x=unit * part["gain"], y=part["candidate"], mode="markers", error_x=bars, marker=marker, name=name,
                **place,
            )  # fmt: skip
        figure.add_vline(x=0, line={"color": INK, "width": 1}, **place)
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.7, len(names) - 0.3])
    figure.update_xaxes(showticklabels=True)
    for place in places[-rows["cols"] :]:
        figure.update_xaxes(title=f"score less the probe's{', points' if metric in IN_POINTS else ''}", **place)
    name_once(figure)
    apply_style(figure, height=170 + rows["rows"] * (90 + 30 * len(names)), name="gains over the probe")
    return figure.update_layout(margin={"t": 90}, legend={"y": 1, "yref": "container", "yanchor": "top"})


@draws_text
def confusion_matrix(confusions: pd.DataFrame, candidate: str) -> go.Figure:
    """Draw how often each class is taken for which other, with a menu that chooses the candidate.

    Right answers, on the diagonal, are written and not coloured. Of many classes the pairs that the candidate confuses
    most often are bars.

    Args:
        confusions: from ``class_confusions``.
        candidate: shown first, and alone where there are many classes.
    """
    classes = list(dict.fromkeys(confusions["true"]))
    if len(classes) > MATRIX:
        return _pairs_as_bars(confusions, candidate)
    names = [candidate, *(each for each in dict.fromkeys(confusions["candidate"]) if each != candidate)]
    tables = {name: _matrix(confusions[confusions["candidate"] == name], classes) for name in names}
    most = max((z for each, _ in tables.values() for row in each for z in row if z is not None), default=1.0) or 1.0
    z, text = tables[candidate]
    figure = go.Figure()
    figure.add_heatmap(
        z=z, text=text, x=classes, y=classes, texttemplate="%{text}", textfont={"color": ON_HEAT, "size": 12},
        colorscale=_HEAT, zmin=0, zmax=most, xgap=1, ygap=1, hoverongaps=False,
        colorbar={"title": {"text": "% of the<br>class"}},
        hovertemplate="%{y} taken for %{x}: %{z:.1f} %<extra></extra>",
    )  # fmt: skip
    # The diagonal has no colour, and so is its own trace of text.
    right = {name: _diagonal(confusions[confusions["candidate"] == name], classes) for name in names}
    figure.add_scatter(
        x=classes, y=classes, mode="text", text=right[candidate], hoverinfo="skip",
        textfont={"color": INK, "size": 12},
    )  # fmt: skip
    buttons = [
        {
            "label": name, "method": "restyle",
            "args": [{"z": [tables[name][0], None], "text": [tables[name][1], right[name]]}],
        }
        for name in names
    ]  # fmt: skip
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.03, "yanchor": "bottom", "showactive": True}
    # Classes named by numbers are names all the same: on an axis of numbers 10 would stand far from 2.
    figure.update_xaxes(title="taken for", type="category", showgrid=False, tickangle=-40)
    figure.update_yaxes(title="true class", type="category", autorange="reversed", showgrid=False)
    apply_style(figure, height=max(420, 190 + 30 * len(classes)), legend=False, name="confusions")
    return figure.update_layout(updatemenus=[menu], margin={"t": 70})


@draws_text
def mistakes_grid(mistakes: pd.DataFrame) -> go.Figure:
    """Show the test images that were taken for others, a row for each two classes, and in how many runs they were.

    Args:
        mistakes: from ``mistaken_images``, of one candidate.
    """
    rows = mistakes["true"] + "<br>taken for<br><b>" + mistakes["predicted"] + "</b>"
    columns = mistakes.groupby(["true", "predicted"], sort=False).cumcount()
    captions = [f"{a} of {b} runs" for a, b in zip(mistakes["wrong"], mistakes["runs"], strict=True)]
    table = pd.DataFrame({"row": rows, "column": columns, "image": mistakes["image"], "caption": captions})
    figure = _grid(table, "confused images")
    return figure.update_xaxes(showticklabels=False).update_layout(margin_t=20)


@draws_text
def attention_grid(attention: pd.DataFrame) -> go.Figure:
    """Show test images, and what the class token attends to before and after training, a row for each image.

    Args:
        attention: from ``class_attention``.
    """
    captions = ["" if math.isnan(each) else f"{100 * each:.0f} % elsewhere" for each in attention["moved"]]
    table = attention.rename(columns={"label": "row", "who": "column"}).assign(caption=captions)
    return _grid(table, "attention")


@draws_text
def moved_by_block(changes: pd.DataFrame) -> go.Figure:
    """Draw how far each method moved the weights of every block, a panel for each role; bars reach from the least run
    to the largest.

    Args:
        changes: from ``changes_by_block``.
    """
    roles, candidates = list(dict.fromkeys(changes["role"])), list(dict.fromkeys(changes["candidate"]))
    adapted = [role for role in roles if changes.loc[changes["role"] == role, "candidate"].nunique() > 1]
    roles = [*adapted, *(role for role in roles if role not in adapted)]
    looks = looks_of(_method(name) for name in candidates)
    rows, places = lay_panels(max(1, len(roles)), columns=2 if len(roles) <= 4 else 3)
    figure = make_subplots(
        **rows, shared_yaxes="all", shared_xaxes="all", subplot_titles=[f"<b>{role}</b>" for role in roles],
        horizontal_spacing=0.03, vertical_spacing=0.2 / rows["rows"],
    )  # fmt: skip
    for role, place in zip(roles, places, strict=False):
        for candidate in candidates:
            own = changes[(changes["role"] == role) & (changes["candidate"] == candidate)]
            found = own.groupby("block", as_index=False)["relative_norm"].agg(["mean", "min", "max"])
            found = found[found["mean"] > 0]
            style = look(looks[_method(candidate)])
            bars = error_bars(found["mean"], found["min"], found["max"], style["line"]["color"], faint=True)
            style["marker"] = style["marker"] | {"size": 7}
            figure.add_scatter(
                x=found["block"], y=found["mean"], mode="lines+markers", error_y=bars, name=candidate, **style, **place
            )
    name_once(figure)
    figure.update_xaxes(showticklabels=True, dtick=_every(changes))
    ticks = _log_places(changes)
    figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{100 * tick:g} %" for tick in ticks])
    figure.update_yaxes(title="‖ΔW‖ / ‖W‖", col=1)
    for place in places[-rows["cols"] :]:
        figure.update_xaxes(title="block, from the input", **place)
    apply_style(figure, height=170 + 230 * rows["rows"], name="changes by block")
    return figure.update_layout(margin={"t": 100}, legend={"y": 1, "yref": "container", "yanchor": "top"})


def _grid(table: pd.DataFrame, name: str) -> go.Figure:
    """Draw images in rows and columns, a caption under each.

    Args:
        table: with ``row`` and ``column``, ``image`` (``data:`` addresses) and ``caption``.
        name: what a downloaded image is called.
    """
    rows, columns = list(dict.fromkeys(table["row"])), list(dict.fromkeys(table["column"]))
    places = [(columns.index(row["column"]), -rows.index(row["row"]), row) for row in table.to_dict("records")]
    figure = go.Figure()
    for x, y, row in places:
        figure.add_layout_image(
            source=row["image"], xref="x", yref="y", x=x, y=y + 0.05, sizex=0.94, sizey=0.8, xanchor="center",
            yanchor="middle", sizing="contain", layer="above",
        )  # fmt: skip
    figure.add_scatter(
        x=[x for x, _, _ in places], y=[y - 0.43 for _, y, _ in places], mode="text", hoverinfo="skip",
        text=[row["caption"] for _, _, row in places], textfont={"size": 11, "color": INK},
        textposition="middle center",
    )  # fmt: skip
    bare: dict[str, Any] = {"showgrid": False, "zeroline": False}
    figure.update_xaxes(
        tickvals=list(range(len(columns))), ticktext=list(map(str, columns)), side="top",
        range=[-0.55, max(len(columns), 4) - 0.45], **bare,
    )  # fmt: skip
    figure.update_yaxes(tickvals=[-i for i in range(len(rows))], ticktext=rows, range=[0.45 - len(rows), 0.5], **bare)
    apply_style(figure, height=70 + 132 * max(1, len(rows)), legend=False, name=name)
    figure.update_xaxes(showline=False)
    figure.update_yaxes(showline=False)
    return figure.update_layout(margin={"t": 50, "b": 20})


def _pairs_as_bars(confusions: pd.DataFrame, candidate: str) -> go.Figure:
    pairs = confused_pairs(confusions, candidate)
    told = [f"{a} of {b}" for a, b in zip(pairs["answers"], pairs["asked"], strict=True)]
    figure = go.Figure()
    figure.add_bar(
        x=100 * pairs["share"], y=pairs["true"] + " → " + pairs["predicted"], orientation="h",
        marker={"color": COLOURS[1]}, text=told,
        textposition="auto", hoverinfo="skip",
    )  # fmt: skip
    figure.update_xaxes(title=f"% of the class's answers by {candidate}")
    figure.update_yaxes(autorange="reversed", dtick=1)
    return apply_style(figure, height=120 + 24 * max(2, len(pairs)), legend=False, name="confused pairs")


def _matrix(own: pd.DataFrame, classes: list[str]) -> tuple[list[list[float | None]], list[list[str]]]:
    """Return shares in percent, none on the diagonal, and what is written of them."""
    wide = own.pivot_table(index="true", columns="predicted", values="share", sort=False, dropna=False)
    shares = 100 * wide.reindex(index=classes, columns=classes)
    z = [
        [None if i == j or math.isnan(value) else round(float(value), 2) for j, value in enumerate(row)]
        for i, row in enumerate(shares.to_numpy())
    ]
    written = len(classes) <= _WRITTEN
    return z, [[f"{value:.0f}" if value and written else "" for value in row] for row in z]


def _diagonal(own: pd.DataFrame, classes: list[str]) -> list[str]:
    """Return what is written of the right answers' shares, in percent."""
    right = own[own["true"] == own["predicted"]].set_index("true")["share"]
    return [f"<b>{100 * right[name]:.0f}</b>" if right.get(name, math.nan) >= 0 else "" for name in classes]


def _family(scores: pd.DataFrame) -> dict[str, str]:
    return dict(zip(scores["candidate"], scores["method"], strict=True))


def _method(candidate: str) -> str:
    """Return a candidate's method, from its label, so that the three families keep their looks."""
    return candidate.partition(" r=")[0]


def _every(changes: pd.DataFrame) -> int:
    return max(1, math.ceil((int(changes["block"].max()) + 1) / 12)) if len(changes) else 1


def _log_places(changes: pd.DataFrame) -> list[float]:
    """Return the powers of ten, twice and five times them, that an axis of these values shows."""
    positive = changes.loc[changes["relative_norm"] > 0, "relative_norm"]
    if positive.empty:
        return [0.01]
    low, high = math.floor(math.log10(positive.min())), math.ceil(math.log10(positive.max()))
    return [float(f"{each}e{power}") for power in range(low, high + 1) for each in (1, 2, 5)]
