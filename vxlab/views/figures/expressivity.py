"""Plotly figures of what families can express: the error of their best fits against trained parameters."""

import math

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.views.style import GREY, INK, SHADE, apply_style, draws_text, error_bars, lay_panels, look

_FAMILIES = ("LoRA", "VeRA", "LoRA-XS", "LiDB, rank 1", "full")
"""Every figure gives a family the same look."""
_AXES = {
    "parameters": "trained parameters",
    "freedom": "dimensions (parameters, less those that change nothing)",
}


@draws_text
def error_against(summary: pd.DataFrame, axis: str = "parameters", *, title: str, of: str = "shape") -> go.Figure:
    """Draw mean errors by size, a line a family and a panel for each of ``of``, with 95 % intervals.

    The dashed line is what any fixed linear family of that many dimensions leaves of a random target: 1 − p/entries.

    Args:
        summary: from ``error_summary``.
        axis: ``parameters`` (trained) or ``freedom``.
        title: of the y axis.
        of: the column whose values have a panel each.
    """
    panels = list(summary[of].unique())
    grid, places = lay_panels(len(panels), columns=2 if len(panels) == 4 else 3)
    rows = grid["rows"]
    figure = make_subplots(
        **grid, subplot_titles=[str(panel) for panel in panels] if len(panels) > 1 else None,
        shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=0.22 / rows,
    )  # fmt: skip
    for panel, where in zip(panels, places, strict=True):
        _add_panel(figure, summary[summary[of] == panel], axis, where, first=where == places[0])
    figure.update_xaxes(type="log", dtick=1, tickformat="~s")
    figure.update_xaxes(title=_AXES[axis], row=rows)
    figure.update_yaxes(range=[-0.03, 1.08])
    figure.update_yaxes(title=title, col=1)
    apply_style(figure, height=160 + 340 * rows, name=f"{title} by {axis}")
    return figure.update_layout(legend_y=1.03 + 0.08 / rows, margin_t=80) if len(panels) > 1 else figure


@draws_text
def equal_parameter_ratios(table: pd.DataFrame, *, of: str = "shape", within: float = 0.05) -> go.Figure:
    """Draw VeRA's error ÷ LoRA's at equal trained parameters, with 95 % intervals.

    Args:
        table: from ``equal_parameters``.
        of: the column whose values have a line each.
        within: half the width of the band that counts as equal.
    """
    figure = go.Figure()
    figure.add_hrect(y0=1 - within, y1=1 + within, fillcolor=SHADE, line_width=0, layer="below")
    figure.add_hline(y=1, line={"color": GREY, "dash": "dash", "width": 1.5})
    for i, (name, rows) in enumerate(table.groupby(of, sort=False)):
        figure.add_scatter(
            x=rows["parameters"], y=rows["ratio"], mode="lines+markers", name=str(name), **look(i),
            error_y=error_bars(rows["ratio"], rows["low"], rows["high"], look(i)["line"]["color"]),
            customdata=_pairs(rows), hovertemplate="%{customdata}<br>ratio %{y:.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(type="log", title="trained parameters of either", tickformat="~s", dtick="D2")
    figure.update_yaxes(title="error of VeRA ÷ error of LoRA<br>below 1: VeRA fits better")
    return apply_style(figure, height=430, name="VeRA against LoRA")


def _add_panel(figure: go.Figure, rows: pd.DataFrame, axis: str, where: dict[str, int], first: bool) -> None:
    entries = int(rows["entries"].iloc[0])
    xs = [10 ** (i * math.log10(entries) / 200) for i in range(201)]
    figure.add_scatter(
        x=xs, y=[1 - x / entries for x in xs], mode="lines", name="any fixed linear family, random target",
        line={"color": GREY, "dash": "dash", "width": 1.5}, legendgroup="line", showlegend=first, hoverinfo="skip",
        **where,
    )  # fmt: skip
    for i, family in enumerate(_FAMILIES):
        own = rows[rows["family"] == family].sort_values(axis)
        if len(own):
            figure.add_scatter(
                x=own[axis], y=own["mean"], mode="lines+markers" if len(own) > 1 else "markers", name=family, **look(i),
                error_y=error_bars(own["mean"], own["low"], own["high"], look(i)["line"]["color"]),
                customdata=_told(own), legendgroup=family, showlegend=first,
                hovertemplate="%{customdata}<extra></extra>", **where,
            )  # fmt: skip
    least = rows.loc[rows["family"] == "LoRA", axis].min()
    figure.add_vline(x=least, line={"color": INK, "dash": "dot", "width": 1}, **where)
    figure.add_annotation(
        x=math.log10(least), y=0.02, text="LoRA r=1", showarrow=False, xanchor="right", xshift=-4, yanchor="bottom",
        font={"size": 12}, **where,
    )  # fmt: skip


def _told(rows: pd.DataFrame) -> list[str]:
    told = []
    for row in rows.to_dict("records"):
        span = "" if math.isnan(row["low"]) else f" ({row['low']:.4f} to {row['high']:.4f})"
        told.append(
            f"<b>{row['family']}</b> {row['setting']}<br>{row['parameters']:,} parameters, "
            f"{row['freedom']:,} dimensions<br>error {row['mean']:.4f}{span}, n={row['n']}"
        )
    return told


def _pairs(rows: pd.DataFrame) -> list[str]:
    return [f"LoRA {row.lora}, VeRA {row.vera}: {row.parameters:,} parameters, n={row.n}" for row in rows.itertuples()]
