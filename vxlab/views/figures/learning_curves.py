"""Learning curves of one candidate's runs: training loss by step, and validation by epoch."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from vxlab.experiments.record import RunRecord
from vxlab.views.style.look import COLOURS, INK

_MOST = 30
"""points of a loss curve: more are not told apart in a panel of this size"""


def add_curves(figure: go.Figure, loss: dict[str, str], score: dict[str, str]) -> None:
    """Add four traces without data: losses, losses of runs that diverged, validation, and its epochs that were kept.

    Args:
        figure: to which they are added.
        loss: the axes of the training loss, as a trace names them.
        score: the axes of the validation score.
    """
    shown: dict[str, Any] = {"showlegend": False}
    told = "seed %{customdata}, step %{x:,}: "
    lost = {"color": COLOURS[1], "dash": "dot"}
    figure.add_scatter(mode="lines", hovertemplate=f"{told}%{{y:.3f}}<extra></extra>", **shown, **loss)
    figure.add_scatter(
        mode="lines", line=lost, hovertemplate=f"{told}%{{y:.3f}}, diverged<extra></extra>", **shown, **loss,
    )  # fmt: skip
    points = {"marker": {"size": 6}, "hovertemplate": f"{told}%{{y:.3f}}<extra></extra>"}
    figure.add_scatter(mode="lines+markers", **points, **shown, **score)
    ring = {"symbol": "circle-open", "size": 12, "color": INK, "line": {"width": 1.5}}
    figure.add_scatter(mode="markers", marker=ring, hoverinfo="skip", **shown, **score)


def curves_of(records: Sequence[RunRecord], metric: str, colour: str) -> list[dict[str, Any]]:
    """Return the changes to the traces of :func:`add_curves` that show some runs, one line each.

    Args:
        records: of the runs.
        metric: of the validation score.
        colour: of the lines of runs that finished.
    """
    done = [each for each in records if each.status == "finished"]
    lost = [each for each in records if each.status != "finished"]
    scores = [_scores(each, metric) for each in records]
    kept = [point for each, points in zip(records, scores, strict=True) for point in _kept(each, points)]
    return [
        _joined(map(_loss, done)) | {"line.color": colour},
        _joined(map(_loss, lost)),
        _joined(points for _, points in scores) | {"line.color": colour, "marker.color": colour},
        {"x": [x for x, _ in kept], "y": [y for _, y in kept]},
    ]


_Points = list[tuple[float, float | None, int]]
"""Step, value and seed."""


def _loss(record: RunRecord) -> _Points:
    """Return a run's training loss, thinned to the means of neighbouring rows."""
    rows = [(row["step"], float(row["loss"])) for row in record.curve]
    parts = np.array_split(np.array(rows, dtype=float).reshape(-1, 2), min(_MOST, max(len(rows), 1)))
    seed = _seed(record)
    return [(round(float(part[-1, 0])), _finite(float(part[:, 1].mean())), seed) for part in parts if len(part)]


def _scores(record: RunRecord, metric: str) -> tuple[list[int], _Points]:
    """Return a run's epochs, and its validation scores at the steps at which they ended."""
    rows = [row for row in record.metrics if (row["split"], row["metric"]) == ("validation", metric)]
    last = record.curve[-1] if record.curve else {"step": record.steps, "epoch": record.spec.get("epochs") or 1}
    steps = last["step"] / max(last["epoch"], 1e-9)
    seed = _seed(record)
    points: _Points = [(round(steps * row["epoch"]), _finite(row["value"]), seed) for row in rows]
    return [row["epoch"] for row in rows], points


def _kept(record: RunRecord, scores: tuple[list[int], _Points]) -> Iterator[tuple[float, float | None]]:
    """Yield the point of the epoch whose checkpoint was kept, where there were several to choose from."""
    epochs, points = scores
    if len(epochs) > 1 and record.best_epoch in epochs:
        yield points[epochs.index(int(record.best_epoch))][:2]


def _joined(lines: "Sequence[_Points] | Iterator[_Points] | Any") -> dict[str, list[Any]]:
    """Return several lines as one trace, with a gap between each two."""
    joined: list[tuple[Any, Any, Any]] = []
    for points in lines:
        joined += [*([(None, None, None)] if joined else []), *points]
    return {name: [point[i] for point in joined] for i, name in enumerate(("x", "y", "customdata"))}


def _seed(record: RunRecord) -> int:
    return int(record.spec.get("seed", 0))


def _finite(value: float | None) -> float | None:
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None
