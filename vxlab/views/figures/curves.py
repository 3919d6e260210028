"""Learning curves: of runs on one task beside each other, and of one candidate's runs joined to a line."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments import RunRecord
from vxlab.experiments.scoring import in_words
from vxlab.experiments.tasks.kinds import recorded_kind
from vxlab.views.figures.sweep import possible
from vxlab.views.style import COLOURS, INK, apply_style, draws_text, look

RUNNING = "running"
_MOST = 30
"""points of a loss curve in a small panel: more are not told apart there"""


class Curves(Protocol):
    """What is drawn of a run, as its :class:`RunRecord` has it; a run that still trains has some of it."""

    @property
    def status(self) -> str: ...
    @property
    def spec(self) -> dict[str, Any]: ...
    @property
    def task(self) -> dict[str, Any]: ...
    @property
    def curve(self) -> list[dict[str, Any]]: ...
    @property
    def metrics(self) -> list[dict[str, Any]]: ...
    @property
    def best_epoch(self) -> float | None: ...
    @property
    def probe(self) -> dict[str, Any]: ...


@draws_text
def learning_curves(records: Mapping[str, Curves]) -> go.Figure:
    """Draw training loss by step, and the validation score by epoch with the chosen checkpoint ringed.

    Args:
        records: runs on one task, by the name to show.
    """
    task = next(iter(records.values())).task
    figure = make_subplots(cols=2, horizontal_spacing=0.18)  # at 470 pixels too, a title fits between
    for i, (name, record) in enumerate(records.items()):
        _add_run(figure, i, name if record.status in ("finished", RUNNING) else f"{name} ({record.status})")
    ring = {"symbol": "circle-open", "size": 18, "color": INK, "line": {"width": 2}}
    figure.add_scatter(mode="markers", marker=ring, name="chosen checkpoint", row=1, col=2)
    figure.update_xaxes(title="optimizer step", rangemode="tozero", row=1, col=1)
    loss = f"training loss ({recorded_kind(task).loss})"
    figure.update_yaxes(title=loss, autorangeoptions={"clipmin": 0}, row=1, col=1)
    figure.update_xaxes(title="epoch", row=1, col=2)
    figure.update_yaxes(title=f"validation {in_words(task['metrics'][0])}", row=1, col=2)
    redraw_curves(figure, list(records.values()))
    return apply_style(figure, height=400, name="learning curves")


def redraw_curves(figure: go.Figure, records: Sequence[Curves]) -> None:
    """Give :func:`learning_curves`' figure what is known of its runs by now."""
    metric = records[0].task["metrics"][0]
    points, chosen = [], []
    for record in records:
        scored = _validation(record, metric)
        # Where there are no scores yet, the legend names the loss.
        points += [_points(record.curve, "step", "loss") | {"showlegend": not scored}]
        points += [_points(scored, "epoch", "value") | {"showlegend": bool(scored)}]
        # A probe has no checkpoints to choose from.
        chosen += [row for row in scored if not record.probe and row["epoch"] == record.best_epoch]
    for trace, changes in zip(figure.data, [*points, _points(chosen, "epoch", "value")], strict=True):
        trace.update(changes)
    first, last = zip(*map(_epochs, records), strict=True)
    figure.layout.xaxis2.update(dtick=math.ceil((max(last) - 0.5) / 8), range=[min(first), max(last)])
    lowest = [row["value"] for record in records for row in record.metrics]
    figure.layout.yaxis2.autorangeoptions = possible(lowest, metric)


def _add_run(figure: go.Figure, i: int, name: str) -> None:
    style = look(i) | {"mode": "lines+markers", "name": name, "legendgroup": name}
    few = style["marker"] | {"size": 7, "maxdisplayed": 8}  # the loss has a point at every log: not all are marked
    figure.add_scatter(**style | {"marker": few}, row=1, col=1)
    figure.add_scatter(**style, row=1, col=2)


def _points(rows: Iterable[Mapping[str, Any]], x: str, y: str) -> dict[str, Any]:
    rows = list(rows)
    return {"x": [row[x] for row in rows], "y": [row[y] for row in rows]}


def _validation(record: Curves, metric: str) -> list[dict[str, Any]]:
    return [row for row in record.metrics if (row["split"], row["metric"]) == ("validation", metric)]


def _epochs(record: Curves) -> tuple[float, float]:
    """Return the range of a run's epochs on an axis: from 0 where it ended before the first was whole.

    A probe, which has none, stands at 0.
    """
    early = any(row["epoch"] is not None and row["epoch"] < 1 for row in record.metrics)
    whole = record.spec["epochs"] or 0
    return 0.0 - 0.5 * (whole == 0) if early else 0.5, whole + 0.5


def add_joined_curves(figure: go.Figure, loss: dict[str, str], score: dict[str, str]) -> None:
    """Add four traces without data: losses, losses of runs that diverged, validation, and its epochs that were kept.

    Args:
        figure: to which they are added.
        loss: the axes of the training loss, as a trace names them.
        score: the axes of the validation score.
    """
    shown: dict[str, Any] = {"showlegend": False}
    told = "%{customdata}, step %{x:,}: "
    lost = {"color": COLOURS[1], "dash": "dot"}
    figure.add_scatter(mode="lines", hovertemplate=f"{told}%{{y:.3f}}<extra></extra>", **shown, **loss)
    figure.add_scatter(
        mode="lines", line=lost, hovertemplate=f"{told}%{{y:.3f}}, diverged<extra></extra>", **shown, **loss,
    )  # fmt: skip
    points = {"marker": {"size": 6}, "hovertemplate": f"{told}%{{y:.3f}}<extra></extra>"}
    figure.add_scatter(mode="lines+markers", **points, **shown, **score)
    ring = {"symbol": "circle-open", "size": 12, "color": INK, "line": {"width": 1.5}}
    figure.add_scatter(mode="markers", marker=ring, hoverinfo="skip", **shown, **score)


def join_curves(records: Sequence[RunRecord], metric: str, colour: str) -> list[dict[str, Any]]:
    """Return the changes to the traces of :func:`add_joined_curves` that show some runs, one line each.

    Args:
        records: of the runs.
        metric: of the validation score.
        colour: of the lines of runs that did not diverge.
    """
    done = [each for each in records if each.status != "diverged"]
    lost = [each for each in records if each.status == "diverged"]
    scores = [_scores(each, metric) for each in records]
    kept = [point for each, points in zip(records, scores, strict=True) for point in _kept(each, points)]
    return [
        _joined(map(_loss, done)) | {"line.color": colour},
        _joined(map(_loss, lost)),
        _joined(points for _, points in scores) | {"line.color": colour, "marker.color": colour},
        {"x": [x for x, _ in kept], "y": [y for _, y in kept]},
    ]


_Line = list[tuple[float, float | None, str]]
"""Step, value, and whose: the seed, and the draw of shots."""


def _loss(record: RunRecord) -> _Line:
    """Return a run's training loss, thinned to the means of neighbouring rows."""
    rows = [(row["step"], float(row["loss"])) for row in record.curve]
    parts = np.array_split(np.array(rows, dtype=float).reshape(-1, 2), min(_MOST, max(len(rows), 1)))
    seed = _seed(record)
    return [(round(float(part[-1, 0])), _finite(float(part[:, 1].mean())), seed) for part in parts if len(part)]


def _scores(record: RunRecord, metric: str) -> tuple[list[int], _Line]:
    """Return a run's epochs, and its validation scores at the steps at which they ended."""
    rows = _validation(record, metric)
    last = record.curve[-1] if record.curve else {"step": record.steps, "epoch": record.spec.get("epochs") or 1}
    steps = last["step"] / max(last["epoch"], 1e-9)
    seed = _seed(record)
    points: _Line = [(round(steps * row["epoch"]), _finite(row["value"]), seed) for row in rows]
    return [row["epoch"] for row in rows], points


def _kept(record: RunRecord, scores: tuple[list[int], _Line]) -> Iterator[tuple[float, float | None]]:
    """Yield the point of the epoch whose checkpoint was kept, where there were several to choose from."""
    epochs, points = scores
    if len(epochs) > 1 and record.best_epoch in epochs:
        yield points[epochs.index(int(record.best_epoch))][:2]


def _joined(lines: Iterable[_Line]) -> dict[str, list[Any]]:
    """Return several lines as one trace, with a gap between each two."""
    joined: list[tuple[Any, Any, Any]] = []
    for points in lines:
        joined += [*([(None, None, None)] if joined else []), *points]
    return {name: [point[i] for point in joined] for i, name in enumerate(("x", "y", "customdata"))}


def _seed(record: RunRecord) -> str:
    draw = f", draw {record.spec.get('draw', 0)}" if "shots" in record.spec else ""
    return f"seed {record.spec.get('seed', 0)}{draw}"


def _finite(value: float | None) -> float | None:
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None
