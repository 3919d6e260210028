"""Plotly figures of adapters with one part changed, beside the published ablations."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from vxlab.experiments.candidates import seeds_in_words
from vxlab.experiments.scoring import in_words
from vxlab.views.figures.sweep import draws_of
from vxlab.views.figures.verdict import difference_unit
from vxlab.views.style import COLOURS, GREY, INK, apply_style, bar_look, draws_text, error_bars
from vxlab.words import write_number

_PUBLISHED = (("diamond-open", COLOURS[0]), ("square-open", COLOURS[2]), ("triangle-up-open", COLOURS[3]))


@draws_text
def parts_against_unchanged(table: pd.DataFrame, published: pd.DataFrame, *, metric: str) -> go.Figure:
    """Draw how far each changed part is from the unchanged method, with 95 % intervals; hollow points are the paper's.

    Args:
        table: from ``parts_table``.
        published: from ``published_differences``: another model's tasks; those of this metric are drawn.
        metric: whose scores they are; accuracy and F1 differ by points.
    """
    scale, unit = difference_unit(metric)
    shown = table[table["difference"].notna()]
    figure = go.Figure()
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    for seen, name, colour, symbol in (
        (True, "here: told apart from the unchanged (Holm)", COLOURS[1], "diamond"),
        (False, "here: no difference seen", GREY, "circle"),
    ):
        _add_measured(figure, shown[shown["seen"] == seen], name, colour, symbol, scale)
    if scale == 100:  # the paper's are points of accuracy: on another metric's axis they would have no place
        drawn = published[(published["metric"] == metric) & published["variant"].isin(shown["variant"])]
        for (task, rows), (symbol, colour) in zip(drawn.groupby("task"), _PUBLISHED, strict=False):
            _add_published(figure, rows, f"published: {str(task).upper()}", colour, symbol)
    names = _names(shown)
    title = f"test {in_words(metric)}: changed less unchanged{', ' + unit if unit else ''}"
    figure.update_xaxes(title=title, zeroline=False)
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.7, len(names) - 0.3])
    figure = apply_style(figure, height=190 + 34 * max(len(names), 2), name="changed parts")
    return figure.update_layout(legend={"y": 1.02}, margin={"l": 200})


def _add_measured(figure: go.Figure, rows: pd.DataFrame, name: str, colour: str, symbol: str, scale: int) -> None:
    error = error_bars(rows["difference"], rows["low"], rows["high"], colour, unit=scale)
    told = [_scores(row) for row in rows.itertuples()]
    figure.add_scatter(
        x=scale * rows["difference"], y=_names(rows), mode="markers", name=name, error_x=error,
        marker={"color": colour, "symbol": symbol, "size": 10},
        customdata=told, hovertemplate=f"%{{customdata}}<br>%{{x:+.{1 if scale == 100 else 3}f}}<extra></extra>",
    )  # fmt: skip


def _add_published(figure: go.Figure, rows: pd.DataFrame, name: str, colour: str, symbol: str) -> None:
    error = bar_look(colour, faint=True) | {"array": 100 * rows["spread"]}
    figure.add_scatter(
        x=100 * rows["difference"], y=_names(rows.assign(method="VeRA")),
        mode="markers", name=f"{name} (± sd of a difference of seeds)", error_x=error, opacity=0.8,
        marker={"color": colour, "symbol": symbol, "size": 9, "line": {"width": 1.5}},
        customdata=[_cited(row) for row in rows.itertuples()], hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip


def _scores(row: Any) -> str:
    of = seeds_in_words(row.scores, draws=draws_of(row))
    return f"<b>{row.candidate}</b><br>mean {write_number(row.mean, '.3f')} ({of})"


def _names(rows: pd.DataFrame) -> list[str]:
    return list(rows["method"] + ", " + rows["part"] + ": " + rows["variant"])


def _cited(row: Any) -> str:
    return f"RoBERTa-large, {row.task.upper()}: {row.told}<br>{row.source}"
