"""What each base does to each method's score, and whether the order of the methods is another one."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.scoring import LEVEL, Array, Difference, against_trivial, compare_all, from_error, holm
from vxlab.experiments.sweeps import Comparison
from vxlab.studies import ReportedRuns, reported_runs
from vxlab.studies.quantised.sweeps import FLOAT

REVERSED, KEPT, ONE_SIDED, NOT_TOLD = "reversed", "the same", "told apart on one base alone", "not told apart on either"
"""What two bases show of the order of two methods."""
_NOTHING = Difference(*(float("nan"),) * 4, covers_seeds=False)


def scheme_scores(results: Mapping[str, Comparison]) -> pd.DataFrame:
    """Return one row a base and candidate: its score, and how far that is from the score on the base in floating point.

    Columns: ``scheme`` (``float``, ``nf4``, ...), ``candidate``; ``score``, the mean of its ``n`` reported runs, and
    ``scores``, theirs; ``diverged``, ``learning_rate``, ``edge`` and ``above`` of the sweep's summary; ``gain``, the
    score less the simplest answer's, with its 95 % interval ``gain_low`` to ``gain_high``; ``change``, the score less
    that on ``float``, with its 95 % interval ``low`` to ``high``, over test items, paired, and training seeds;
    ``p_holm``, adjusted for all changes of the table, ``seen``, whether a change is told from 0, and ``covers_seeds``.
    Changes are NaN on ``float`` itself, and where a candidate has no finished run on one of the two.

    Args:
        results: of :func:`quantised_sweeps`, by scheme.

    Raises:
        VxlabError: two bases were tested on different items, or by different metrics.
    """
    runs = _runs_of(results)
    compared, gains = _compared(runs), _over_trivial(runs, results)
    changes = {
        (scheme, name): compared.get((_key(FLOAT, name), _key(scheme, name)), _NOTHING).turned()
        for scheme, result in results.items()
        for name in result.fair.names
        if scheme != FLOAT
    }
    adjusted = dict(zip(changes, holm([each.p for each in changes.values()]).tolist(), strict=True))
    rows = []
    for scheme, result in results.items():
        for row in result.summary.to_dict("records"):
            key = scheme, row["candidate"]
            change, p = changes.get(key, _NOTHING), adjusted.get(key, float("nan"))
            gain = gains.get(_key(*key), (float("nan"),) * 3)
            told = {name: row[name] for name in ("scores", "n", "diverged", "learning_rate", "edge", "above")}
            rows.append({
                "scheme": scheme, "candidate": row["candidate"], "score": row["mean"], **told,
                **dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True)),
                "change": change.difference, "low": change.low, "high": change.high, "p_holm": p, "seen": p <= LEVEL,
                "covers_seeds": change.covers_seeds,
            })  # fmt: skip
    return pd.DataFrame(rows)


def order_changes(results: Mapping[str, Comparison]) -> pd.DataFrame:
    """Return one row a scheme and pair of methods: their difference there and on ``float``, and whether it moved.

    Columns: ``scheme``, ``a``, ``b``; ``float`` and ``quantised``, score of a less that of b on either base, and
    ``float_seen`` and ``quantised_seen``, whether they are told apart there (after Holm, within each base);
    ``order``, what the two show together: ``reversed`` and ``the same`` where both tell them apart, else ``told apart
    on one base alone`` or ``not told apart on either``; ``shift``, quantised less float, with its 95 % interval ``low``
    to ``high`` and ``p_holm``, adjusted for all rows, and ``seen``.

    A shift is the change of a less the change of b. How the errors of these two hang together is not estimated: they
    are added up, which is right in the worst case, and else makes the interval too wide rather than too narrow.

    Args:
        results: of :func:`quantised_sweeps`, by scheme.

    Raises:
        VxlabError: as :func:`scheme_scores`.
    """
    compared = _compared(_runs_of(results))
    told = {scheme: _pairs(result) for scheme, result in results.items()}
    rows = []
    for scheme in (each for each in results if each != FLOAT):
        for a, b in combinations(results[FLOAT].fair.names, 2):
            before, after = told[FLOAT].get((a, b)), told[scheme].get((a, b))
            if before is None or after is None:
                continue
            shift = _shift(*(compared[_key(FLOAT, name), _key(scheme, name)].turned() for name in (a, b)))
            rows.append({
                "scheme": scheme, "a": a, "b": b, "float": before[0], "float_seen": before[1], "quantised": after[0],
                "quantised_seen": after[1], "order": _order(*before, *after), "shift": shift.difference,
                "low": shift.low, "high": shift.high, "p": shift.p,
            })  # fmt: skip
    table = pd.DataFrame(rows, columns=_ORDER_COLUMNS)
    adjusted = holm(table["p"].to_numpy(dtype=float))
    return table.assign(p_holm=adjusted, seen=adjusted <= LEVEL)


_ORDER_COLUMNS = [
    "scheme", "a", "b", "float", "float_seen", "quantised", "quantised_seen", "order", "shift", "low", "high", "p",
]  # fmt: skip


def _key(scheme: str, candidate: str) -> str:
    return f"{candidate} on {scheme}"


class _Runs(NamedTuple):
    """The reported runs of all bases, to be compared at once: how much seeds matter is learnt from all of them."""

    predictions: dict[str, dict[Any, Array]]
    labels: Array
    metric: str
    units: Array | None
    fixed: list[str]
    drawn: dict[str, float]


def _runs_of(results: Mapping[str, Comparison]) -> _Runs:
    if len(metrics := {result.metric for result in results.values()}) > 1:
        raise VxlabError(f"the bases were scored by different metrics ({', '.join(sorted(metrics))}); use one")
    runs = {scheme: reported_runs(result) for scheme, result in results.items()}
    first = next(iter(runs.values()))
    _require_same_items(runs, first)
    predictions = {_key(scheme, name): own for scheme, each in runs.items() for name, own in each.predictions.items()}
    fixed = [_key(scheme, each.base) for scheme, each in runs.items() if each.base]
    drawn = {_key(scheme, name): share for scheme, each in runs.items() for name, share in each.drawn.items()}
    return _Runs(predictions, first.labels, metrics.pop(), first.units, fixed, drawn)


def _compared(runs: _Runs) -> dict[tuple[str, str], Difference]:
    return compare_all(runs.predictions, runs.labels, runs.metric, units=runs.units, fixed=runs.fixed, drawn=runs.drawn)


def _over_trivial(runs: _Runs, results: Mapping[str, Comparison]) -> dict[str, tuple[float, float, float]]:
    """Return each candidate's score less the simplest answer's, with its interval."""
    constant = next(iter(results[FLOAT].records.values())).constant()
    found = against_trivial(
        runs.predictions,
        runs.labels,
        runs.metric,
        constant=constant,
        units=runs.units,
        fixed=runs.fixed,
        drawn=runs.drawn,
    )
    return {name: (each.difference, each.low, each.high) for name, each in found.items()}


def _require_same_items(runs: Mapping[str, ReportedRuns], first: ReportedRuns) -> None:
    for scheme, each in runs.items():
        same_units = (each.units is None) == (first.units is None) and (
            each.units is None or first.units is None or np.array_equal(each.units, first.units)
        )
        if not np.array_equal(each.labels, first.labels) or not same_units:
            raise VxlabError(f"{scheme} was tested on other items than {next(iter(runs))}; compare runs on the same")


def _pairs(result: Comparison) -> dict[tuple[str, str], tuple[float, bool]]:
    """Return the difference of each pair that could be compared, and whether it is told apart."""
    known = result.pairs.dropna(subset=["difference"]).to_dict("records")
    return {(row["a"], row["b"]): (float(row["difference"]), bool(row["seen"])) for row in known}


def _shift(a: Difference, b: Difference) -> Difference:
    error, freedom = a.error + b.error, min(a.freedom, b.freedom)
    found = from_error(a.difference - b.difference, error, freedom)
    p = min(1.0, 2 * min(found.tails(0)))
    return Difference(found.value, found.low, found.high, p, a.covers_seeds and b.covers_seeds, error, freedom)


def _order(before: float, before_seen: bool, after: float, after_seen: bool) -> str:
    if before_seen and after_seen:
        return KEPT if (before > 0) == (after > 0) else REVERSED
    return ONE_SIDED if before_seen or after_seen else NOT_TOLD
