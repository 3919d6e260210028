"""Plotly figures of spectra, of bands of singular vectors, and of what a truncated model still knows."""

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments.scoring import in_words
from vxlab.studies.subspaces import REMOVED, SIDES, UNTOUCHED
from vxlab.views.figures.sweep import possible
from vxlab.views.style import (
    COLOURS,
    DIVERGING,
    GREY,
    INK,
    ON_HEAT,
    SCORES,
    SHADE,
    SHARES,
    apply_style,
    draws_text,
    error_bars,
    lay_panels,
    look,
    name_once,
    tick_labels,
)
from vxlab.words import with_minus, write_number

BANDS = ("top", "middle", "bottom", "random")
_COLUMNS = 3
_TOLD = ("role", "band", "fraction", "score", "low", "high")


@draws_text
def truncation_by_role(scores: pd.DataFrame, *, metric: str, trivial: float | None = None) -> go.Figure:
    """Draw the score against the share of triplets that are kept: a panel a role, a line a band, 95 % intervals.

    Every line starts where the role's weight (or update) is zero, and ends at the model as it was trained. Sizes stand
    side by side, at no scale.

    Args:
        scores: from ``truncation_scores``, of the weights or of the updates.
        metric: whose scores they are.
        trivial: score of the simplest answer.
    """
    whole = scores[scores["band"] == UNTOUCHED].iloc[0]
    roles = [role for role in scores["role"].unique() if role]
    figure, places = _panels(roles, shared_x="all")
    sizes = sorted(scores["fraction"].unique())
    scores = scores.assign(place=[sizes.index(fraction) for fraction in scores["fraction"]])  # small ones stand close
    for role, place in zip(roles, places, strict=True):
        own = scores[scores["role"] == role]
        for band in [band for band in BANDS if band in set(own["band"])]:
            ends = (own[own["band"] == REMOVED], scores[scores["band"] == UNTOUCHED])
            _add_line(figure, pd.concat([ends[0], own[own["band"] == band], ends[1]]), band, place)
        _level(figure, whole["score"], f"untouched: {write_number(whole['score'], '.3f')}", "dash", len(sizes), place)
        if trivial is not None:
            _level(figure, trivial, f"trivial answer: {write_number(trivial, '.3f')}", "dot", len(sizes), place)
    name_once(figure)
    kept = "update's" if whole["what"] == "update" else "weight's"
    ticks = [f"{label}%" for label in tick_labels([100 * size for size in sizes], digits=3)]
    figure.update_xaxes(tickvals=list(range(len(sizes))), ticktext=ticks, showticklabels=True)
    for place in places[-_COLUMNS:]:
        figure.update_xaxes(title=f"share of the {kept} triplets kept", **place)
    figure.update_yaxes(title=f"test {in_words(metric)}", col=1, **SCORES)
    figure.update_yaxes(autorangeoptions=possible(scores["low"], metric))
    return _titled(figure, 170 + 260 * math.ceil(len(roles) / _COLUMNS), "truncated by role")


@draws_text
def kept_by_role(shares: pd.DataFrame, fraction: float) -> go.Figure:
    """Draw what each band keeps of the gain of fine-tuning, by role, with 95 % intervals.

    Args:
        shares: from ``kept_shares``.
        fraction: of the triplets that are kept.
    """
    figure = go.Figure()
    roles = list(shares["role"].unique())[::-1]
    shown = [band for band in (*BANDS, REMOVED) if band in set(shares["band"])]
    for i, band in enumerate(shown):
        own = shares[shares["band"] == band]
        offset = (i - (len(shown) - 1) / 2) * -0.17
        error = error_bars(own["share"], own["low"], own["high"], _look(band)["marker"]["color"])
        name = "all removed" if band == REMOVED else f"{band} {fraction:.0%} kept"
        heights = [roles.index(role) + offset for role in own["role"]]
        figure.add_scatter(x=own["share"], y=heights, error_x=error, mode="markers", name=name, **_look(band))
    for x, dash in ((0, "dot"), (1, "dash")):
        figure.add_vline(x=x, line={"color": GREY, "dash": dash, "width": 1.5})
    what = "update" if (shares["what"] == "update").all() else "weight"
    title = f"share of the gain of fine-tuning that is left when a role's {what}s are cut"
    figure.update_xaxes(title=title, **SHARES)
    figure.update_yaxes(tickvals=list(range(len(roles))), ticktext=roles, range=[-0.6, len(roles) - 0.4])
    return apply_style(figure, height=150 + 70 * len(roles), name="kept by role")


@draws_text
def energy_spectra(spectra: pd.DataFrame) -> go.Figure:
    """Draw the energy in the first triplets: a panel for W and for each update, a line a role (mean over blocks).

    Args:
        spectra: from ``spectra_table``.
    """
    kinds = list(spectra["of"].unique())
    figure, places = _panels(kinds, shared_x="all")
    for kind, place in zip(kinds, places, strict=True):
        own = spectra[spectra["of"] == kind]
        for i, role in enumerate(own["role"].unique()):
            mean = own[own["role"] == role].groupby("position", as_index=False)["energy"].mean()
            line = {**look(i)["line"], "width": 2}
            figure.add_scatter(x=mean["position"], y=mean["energy"], mode="lines", name=role, line=line, **place)
        flat = np.geomspace(own["position"].min(), 1, 40)
        figure.add_scatter(
            x=flat, y=flat, mode="lines", name="a flat spectrum", line={"color": GREY, "dash": "2px,5px"}, **place
        )
    name_once(figure)
    figure.update_xaxes(type="log", title="share of the triplets, the largest first", tickformat="~%", dtick=1)
    figure.update_yaxes(title="share of the energy ‖·‖²<sub>F</sub>", tickformat=".0%", range=[0, 1.02], col=1)
    return _titled(figure, 170 + 300 * math.ceil(len(kinds) / _COLUMNS), "spectra")


@draws_text
def band_heat(energies: pd.DataFrame, update: str, fraction: float, side: str = "both") -> go.Figure:
    """Draw how much more of an update lies in each band than chance would put there: a map of roles by blocks a band.

    Layers without an update stay empty.

    Args:
        energies: from ``band_energies``.
        update: whose.
        fraction: of the triplets of W that a band holds.
        side: ``output``, ``input`` or ``both``.
    """
    own = energies[(energies["update"] == update) & np.isclose(energies["fraction"], fraction)]
    own = own.assign(ratio=own[side] / own[f"chance_{side}"])
    bands, roles = [band for band in BANDS if band in set(own["band"])], list(own["role"].unique())
    blocks = sorted(own["block"].unique())
    there = own["ratio"][own["ratio"] > 0]  # NaN: the layer changed nothing
    limit = max([1.0, *np.abs(np.log2(there))])
    figure = make_subplots(
        cols=max(len(bands), 1), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=_bold(bands)
    )
    for i, band in enumerate(bands):
        ratios = own[own["band"] == band].pivot_table(index="role", columns="block", values="ratio")
        ratios = ratios.reindex(index=roles[::-1], columns=blocks)
        text = [["" if np.isnan(value) else f"{value:.2g}" for value in row] for row in ratios.to_numpy()]
        few, times = ratios.shape[1] <= 12, np.log2(ratios.clip(lower=2.0**-limit).to_numpy())
        figure.add_heatmap(
            x=list(ratios.columns), y=list(ratios.index), z=times, zmin=-limit, zmax=limit,
            colorscale=DIVERGING, text=text, texttemplate="%{text}" if few else None,
            textfont={"size": 11, "color": ON_HEAT}, showscale=i == len(bands) - 1, colorbar=_colour_bar(limit),
            hovertemplate="%{y}, block %{x}: %{text} times chance<extra></extra>", row=1, col=i + 1,
        )  # fmt: skip
    figure.update_xaxes(dtick=max(1, math.ceil(own["block"].nunique() / 12)))
    # Once: beside each other they would run into one line.
    figure.update_xaxes(title="transformer block, from the input", col=(max(len(bands), 1) + 1) // 2)
    return apply_style(figure, height=160 + 40 * len(roles), legend=False, name=f"bands of {update}")


@draws_text
def angles_to_bands(angles: pd.DataFrame, update: str) -> go.Figure:
    """Draw the principal angles between an update's strongest directions and W's bands, less what chance would give.

    A panel a side and band, a line a role: medians over its layers of the angle minus the median of random subspaces
    of the same sizes. Below 0 the update lies nearer to the band than chance puts it. The grey area holds 95 % of the
    random subspaces of one layer, the widest where roles differ in width.

    Args:
        angles: from ``band_angles``.
        update: whose.
    """
    own = angles[angles["update"] == update]
    own = own.assign(**{name: own[name] - own["chance"] for name in ("degrees", "chance_low", "chance_high")})
    # An update of nothing but zeros has no directions: its panels stay empty.
    bands = [band for band in BANDS if band in set(own["band"])] or list(BANDS[:3])
    sides = list(own["side"].unique()) or list(SIDES)
    figure = make_subplots(
        rows=len(sides), cols=len(bands), shared_xaxes=True, shared_yaxes="all", horizontal_spacing=0.03,
        vertical_spacing=0.1, subplot_titles=[f"<b>{band}</b>, {side} side" for side in sides for band in bands],
    )  # fmt: skip
    for (row, side), (column, band) in ((a, b) for a in enumerate(sides, 1) for b in enumerate(bands, 1)):
        place = {"row": row, "col": column}
        here = own[(own["side"] == side) & (own["band"] == band)]
        _chance_area(figure, here, place)
        for i, role in enumerate(own["role"].unique()):
            median = here[here["role"] == role].groupby("number", as_index=False)["degrees"].median()
            figure.add_scatter(
                x=median["number"], y=median["degrees"], mode="lines+markers", name=role, **look(i), **place
            )
    name_once(figure)
    figure.update_traces(marker_size=6, selector={"mode": "lines+markers"})
    figure.update_xaxes(title="principal angle, the smallest first", row=len(sides))
    figure.update_yaxes(title="degrees beyond chance", col=1)
    return _titled(figure, 200 + 260 * len(sides), f"angles of {update}")


def _panels(titles: list[str], shared_x: Any) -> tuple[go.Figure, list[dict[str, int]]]:
    grid, places = lay_panels(len(titles), _COLUMNS)
    figure = make_subplots(
        **grid, subplot_titles=_bold(titles), shared_yaxes="all", shared_xaxes=shared_x,
        horizontal_spacing=0.03, vertical_spacing=0.18 / grid["rows"],
    )  # fmt: skip
    return figure, places


def _titled(figure: go.Figure, height: int, name: str) -> go.Figure:
    """Give a figure of several panels the house's look, with the legend above the panels' titles."""
    apply_style(figure, height, name=name)
    figure.update_layout(margin={"t": 90}, legend={"y": 1 + 32 / (height - 150)})
    return figure


def _bold(titles: list[str]) -> list[str]:
    return [f"<b>{title}</b>" for title in titles]


def _look(band: str) -> dict[str, Any]:
    if band == REMOVED:
        return {"marker": {"color": INK, "symbol": "x-thin", "size": 9, "line": {"width": 2}}}
    return {"marker": look(BANDS.index(band))["marker"]}


def _add_line(figure: go.Figure, rows: pd.DataFrame, line: str, place: dict[str, int]) -> None:
    error = error_bars(rows["score"], rows["low"], rows["high"], COLOURS[BANDS.index(line)], faint=True)
    told = [
        f"{role or 'untouched'}, {band} {fraction:.3g}<br>" + with_minus(f"{score:.3f} ({low:.3f} to {high:.3f})")
        for role, band, fraction, score, low, high in zip(*(rows[name] for name in _TOLD), strict=True)
    ]
    figure.add_scatter(
        x=rows["place"], y=rows["score"], error_y=error, mode="lines+markers", name=f"{line} triplets",
        **look(BANDS.index(line)), customdata=told, hovertemplate="%{customdata}<extra></extra>", **place,
    )  # fmt: skip


def _level(figure: go.Figure, y: float, name: str, dash: str, sizes: int, place: dict[str, int]) -> None:
    line = {"color": GREY, "dash": dash, "width": 1.5}
    figure.add_scatter(x=[0, sizes - 1], y=[y, y], mode="lines", line=line, name=name, hoverinfo="skip", **place)


def _chance_area(figure: go.Figure, rows: pd.DataFrame, place: dict[str, int]) -> None:
    by_number = rows.groupby("number")
    low, high = by_number["chance_low"].min(), by_number["chance_high"].max()
    figure.add_scatter(
        x=[*low.index, *high.index[::-1]], y=[*low, *high[::-1]], fill="toself", fillcolor=SHADE,
        line_width=0, mode="lines", hoverinfo="skip", name="95 % of random subspaces", **place,
    )  # fmt: skip
    line = {"color": GREY, "dash": "dash", "width": 1.5}
    figure.add_scatter(x=low.index, y=[0] * len(low), mode="lines", line=line, name="their median", **place)


def _colour_bar(limit: float) -> dict[str, Any]:
    step = max(1, round(limit / 3))
    ticks = [step * i for i in range(-3, 4) if abs(step * i) <= limit]
    return {"title": "times<br>chance", "tickvals": ticks, "ticktext": [f"{2.0**tick:.3g}" for tick in ticks]}
