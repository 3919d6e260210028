"""One table of all sets: the untuned base first, then each candidate's score and its gain over the base."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from vxlab.experiments.scoring import SHARES, Array, compute
from vxlab.experiments.sweeps import Comparison
from vxlab.studies import METRIC_COLUMNS, find_test_rows, metric_scores, reported_runs

SET_COLUMNS = ("sweep", "set", "items", "headline", "trivial", "trivial_name", "base", "parameters", *METRIC_COLUMNS)
_SET = "set"


def set_scores(results: Mapping[str, Comparison]) -> pd.DataFrame:
    """Return one row a set, metric and candidate, the untuned base before the others.

    Columns: ``sweep``, the result that it is of, and ``set``; ``items``, of its test rows; ``headline``, whether the
    metric is the set's accuracy; ``trivial``, the score of the simplest answer, which is ``trivial_name``; ``base``,
    whether it is the untuned base; ``parameters``, trained in the backbone; and those of
    :func:`vxlab.studies.metric_scores`, whose p-values are adjusted for the candidates of one set and metric.

    Of a model that was trained on several sets at once each is scored by itself: the test rows say of which they are,
    in a column ``set``. Where these rows are not to be had any more, they are one set.

    Args:
        results: of a fair sweep each, by the name of what it was trained on.
    """
    tables = [_table(sweep, result, *part) for sweep, result in results.items() for part in parts_of(sweep, result)]
    return pd.concat(tables, ignore_index=True)[list(SET_COLUMNS)]


def parts_of(sweep: str, result: Comparison) -> Iterator[tuple[str, Array | None]]:
    """Yield each set that a result was tested on, and (items,) of bool, its own ones; None where it is the only set.

    Args:
        sweep: what the result is called.
        result: of a fair sweep.
    """
    rows = find_test_rows(result)
    if rows is None or _SET not in rows:
        yield sweep, None
        return
    of = np.asarray(rows[_SET])
    for name in dict.fromkeys(rows[_SET]):
        yield str(name), of == name


def headline_metric(metrics: "tuple[str, ...] | list[str]") -> str:
    """Return a set's accuracy among its metrics, or where it has none the first.

    >>> headline_metric(["log_likelihood", "flexible_number", "hash_number"]), headline_metric(["log_likelihood"])
    ('flexible_number', 'log_likelihood')
    """
    return next((name for name in metrics if name in SHARES), metrics[0])


def _table(sweep: str, result: Comparison, name: str, items: Array | None) -> pd.DataFrame:
    scores, base = metric_scores(result, items), reported_runs(result).base
    metrics = list(dict.fromkeys(scores["metric"]))
    of, names = scores["metric"].tolist(), scores["candidate"].tolist()
    order = sorted(range(len(scores)), key=lambda row: (metrics.index(of[row]), names[row] != base))
    table = scores.iloc[order]
    sizes = result.summary.set_index("candidate")["backbone"]
    trivial = _trivial(result, metrics, items)
    count = result.items if items is None else int(items.sum())
    return table.assign(
        sweep=sweep, set=name, items=count, headline=table["metric"] == headline_metric(metrics),
        trivial=table["metric"].map(trivial), trivial_name=table["metric"].map(_trivial_names(result, metrics)),
        base=table["candidate"] == base, parameters=table["candidate"].map(sizes),
    )  # fmt: skip


def _trivial(result: Comparison, metrics: list[str], items: Array | None) -> dict[str, float]:
    """Return the simplest answer's scores of some items."""
    constant = np.asarray(next(iter(result.records.values())).constant())
    own = constant if items is None else constant[items]
    return compute(metrics, own, own[:, 0])


def _trivial_names(result: Comparison, metrics: list[str]) -> dict[str, str]:
    from vxlab.experiments.tasks.kinds import recorded_kind

    kind: Any = recorded_kind(next(iter(result.records.values())).task)
    return {metric: kind.trivial_name(metric) for metric in metrics}
