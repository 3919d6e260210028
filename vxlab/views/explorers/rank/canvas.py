"""The rank explorer's canvas: what a rank reaches of the weights and of the gradient, and what it costs."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.views.explorers import short
from vxlab.views.explorers.rank.words import Lines
from vxlab.views.style import COLOURS, DASHES, INK, apply_style, draws_text, escape, look

_ENERGY = "energy of W in its first r triplets"
_GRADIENT = "energy of the first gradient in reach"
_COST = "what each method trains"
_BESIDE = {"LiDB": "top left"}
"""Where a method's name stands at its line's end: LiDB's ends early, amid the others."""
_BARE: dict[str, Sequence[float]] = {"block": (), "share": (), "chance": ()}
_EVERY_BLOCK = 24
"""Up to so many blocks each has its tick."""


@draws_text
def rank_panels(
    roles: Sequence[str], families: Sequence[str], blocks: int, most: int, *, lowest: float | None, metric: str
) -> go.Figure:
    """Return the figure with empty traces, in this order.

    A line for each role, and the level of equal singular values; where a gradient is known, a line for each role and
    then its chance for each; a line for each method's parameters; candidates on the front, and off it; the ring.

    Args:
        roles: of the layers.
        families: methods.
        blocks: how many the model has.
        most: the highest rank.
        lowest: the smallest share of a gradient that is shown, above 0; None where no gradient is known.
        metric: in words, of the measured candidates' scores; "" where nothing was measured.
    """
    cost = {"row": 1, "col": 2} if lowest is None else {"row": 2, "col": 1}
    figure = _panels(lowest is not None)
    _add_energy(figure, roles)
    if lowest is not None:
        _add_gradient(figure, roles, lowest)
    _add_cost(figure, families, metric, cost)
    figure.update_xaxes(title="transformer block, from the input", dtick=1 if blocks <= _EVERY_BLOCK else None)
    ticks = [4**i for i in range(9) if 4**i <= max(most, 4)]
    # The names stand at the lines' ends.
    ranks = {"type": "log", "tickvals": ticks, "tickformat": "d", "range": [-0.25, math.log10(most) + 0.6]}
    figure.update_xaxes(title="rank", **ranks, **cost)
    apply_style(figure, height=430 if lowest is None else 650)
    legend = {"y": 1.16 if lowest is None else 1.09, "font_size": 12}
    return figure.update_layout(margin={"t": 110, "l": 60, "r": 20, "b": 65}, legend=legend)


def by_role(table: pd.DataFrame, places: list[str], columns: list[str]) -> Mapping[Hashable, Lines]:
    """Return each place's lines over blocks, by role."""
    found: dict[Hashable, dict[str, dict[str, list[float]]]] = {}
    for (*place, role), rows in table.groupby([*places, "role"], sort=False):
        rows = rows.sort_values("block")
        own = {"block": rows["block"].tolist()} | {name: rows[name].tolist() for name in columns}
        found.setdefault(tuple(place), {})[str(role)] = own
    return found


def role_line(lines: Lines, role: str, column: str) -> dict[str, Any]:
    """Return a role's values of a column over blocks; a role that the layers do not have leaves no trace."""
    own = lines.get(role, _BARE)
    return {"x": list(own["block"]), "y": [short(value) for value in own[column]], "visible": role in lines}


def flat_line(energies: Lines) -> dict[str, Any]:
    """Return the share that equal singular values would have, mean of the roles, from the first block to the last."""
    flat: dict[float, list[float]] = {}
    for own in energies.values():
        for block, value in zip(own["block"], own["flat"], strict=True):
            flat.setdefault(block, []).append(value)
    blocks = sorted(flat)
    return {"x": blocks, "y": [short(sum(flat[block]) / len(flat[block])) for block in blocks]}


def cost_line(sizes: Sequence[Any], family: str, chosen: str) -> dict[str, Any]:
    """Return a method's parameters by rank, its name at the end; the chosen one's is thick."""
    own = [row for row in sizes if row.family == family]
    name = f"<b>{escape(family)}</b>" if family == chosen else escape(family)
    names = [*[""] * (len(own) - 1), f" {name}"][: len(own)]
    width = 3.5 if family == chosen else 1.5
    return {"x": [row.rank for row in own], "y": [row.backbone for row in own], "text": names, "line.width": width}


def _panels(gradient: bool) -> go.Figure:
    if not gradient:
        return make_subplots(cols=2, subplot_titles=(_ENERGY, _COST), horizontal_spacing=0.12)
    specs = [[{}, {}], [{"colspan": 2}, None]]
    titles = (_ENERGY, _GRADIENT, _COST)
    return make_subplots(2, 2, specs=specs, subplot_titles=titles, horizontal_spacing=0.12, vertical_spacing=0.2)


def _add_energy(figure: go.Figure, roles: Sequence[str]) -> None:
    for i, role in enumerate(roles):
        figure.add_scatter(
            mode="lines+markers", name=role, legendgroup=role, **look(i), row=1, col=1,
            hovertemplate=f"{role}, block %{{x}}: %{{y:.1%}}<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        mode="lines", name="if all singular values were equal", line={"color": INK, "dash": "dot", "width": 1.5},
        hovertemplate="%{y:.1%} if all were equal<extra></extra>", row=1, col=1,
    )  # fmt: skip
    figure.update_yaxes(title="share of ‖W‖²<sub>F</sub>", tickformat=".0%", range=[0, 1.04], row=1, col=1)


def _add_gradient(figure: go.Figure, roles: Sequence[str], lowest: float) -> None:
    for i, role in enumerate(roles):
        figure.add_scatter(
            mode="lines+markers", name=role, legendgroup=role, showlegend=False, **look(i), row=1, col=2,
            hovertemplate=f"{role}, block %{{x}}: %{{y:.2%}}<extra></extra>",
        )  # fmt: skip
    for i, role in enumerate(roles):
        line = {"color": look(i)["line"]["color"], "dash": "dot", "width": 1.5}
        figure.add_scatter(
            mode="lines", name="chance, of an unrelated gradient", legendgroup="chance", showlegend=i == 0,
            line=line,
            hovertemplate=f"{role}: %{{y:.2%}} by chance<extra></extra>", row=1, col=2,
        )  # fmt: skip
    bounds = [math.floor(math.log10(lowest)), 0.1]
    figure.update_yaxes(
        title="share of ‖G‖²<sub>F</sub>", type="log", dtick=1, tickformat="~%", range=bounds, row=1, col=2
    )


def _add_cost(figure: go.Figure, families: Sequence[str], metric: str, place: dict[str, int]) -> None:
    for i, family in enumerate(families):
        line = {"color": INK, "dash": DASHES[i % len(DASHES)]}
        figure.add_scatter(
            mode="lines+text", name=family, showlegend=False, line=line, cliponaxis=False,
            textposition=_BESIDE.get(family, "middle right"), textfont={"color": INK}, **place,
            hovertemplate=f"{family} r=%{{x}}: %{{y:,}} parameters<extra></extra>",
        )  # fmt: skip
    told = f"measured {metric}" if metric else "measured"
    for name, symbol in ((f"{told}, on the Pareto front", "diamond"), (f"{told}, off it", "diamond-open")):
        figure.add_scatter(
            mode="markers+text", name=name, showlegend=bool(metric), textposition="bottom right", textfont_size=12,
            marker={"symbol": symbol, "size": 10, "color": INK}, hovertemplate="%{customdata}<extra></extra>", **place,
        )  # fmt: skip
    ring = {"symbol": "circle-open", "size": 20, "color": COLOURS[1], "line": {"width": 3}}
    figure.add_scatter(mode="markers", name="chosen", marker=ring, hoverinfo="skip", **place)
    figure.update_yaxes(title="trained parameters", type="log", dtick=1, tickformat="~s", **place)
