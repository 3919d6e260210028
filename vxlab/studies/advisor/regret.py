"""What the trial of the advice found: the regret of each kind of allocation, and the verdict on the advice."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from vxlab.analysis import bootstrap_interval
from vxlab.errors import VxlabError
from vxlab.studies.advisor.stability import ALLOCATION
from vxlab.studies.advisor.trial import ADVISED_ALLOCATION, KINDS, TRIAL_RANKS, UNIFORM_ALLOCATION
from vxlab.words import number_of, write_number

EVERY_CELL = "all"
"""In the place of a task or a method: the mean over all of them."""
RUN_COLUMNS = (
    "task", "method", "budget_rank", "budget", "allocation", "verdict", "backbone", "learning_rate", "seed",
    "validation", "test", "diverged",
)  # fmt: skip
"""Of the trial's table: one row a run; scores are fractions."""
_CELL = ["task", "method", "budget_rank"]
_RESAMPLES = 2000


def cell_scores(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the score of each kind of allocation in each cell of the trial.

    Args:
        runs: one row a run, of :data:`RUN_COLUMNS`.

    Returns:
        ``task, method, budget_rank, verdict``; ``kind``; ``score`` (the mean test score; of several draws or roles the
        mean over them), ``n`` (runs), ``difference`` (to the cell's uniform ranks), ``missed`` (to the oracle) and
        ``range`` (oracle less worst). Oracle and worst are the allocations with the highest and the lowest mean score
        on validation; both are NaN until random allocations of the cell have run. A run that diverged has the lowest
        test and validation score of its cell.

    Raises:
        VxlabError: a column is missing, or a cell has no uniform ranks or none by energy.
    """
    if lacking := [name for name in RUN_COLUMNS if name not in runs]:
        raise VxlabError(f"runs has no column {lacking[0]!r}; give the trial's table, one row a run: {RUN_COLUMNS}")
    runs = _settled(runs)
    uniform = {cell: own.loc[own["allocation"] == UNIFORM_ALLOCATION, "test"] for cell, own in runs.groupby(_CELL)}
    return pd.DataFrame([row for cell, own in runs.groupby(_CELL, sort=False) for row in _of_cell(cell, own, uniform)])


def regret_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the regret of each kind of allocation, by task, by method and over all.

    regret = Σ (oracle − chosen) / Σ (oracle − worst) of test scores over cells: 0 where the best was chosen every time,
    1 where the worst was.

    Args:
        runs: as :func:`cell_scores` takes them.

    Returns:
        ``task, method`` (``all`` where the row is over all of them); ``kind``; ``regret`` with ``low, high``, a 95 %
        interval by the bootstrap over cells, which share tasks and test rows, so that it is of these tasks and says
        little of others; ``difference``, the mean of the kind's test score less the uniform
        ranks', with ``diff_low, diff_high``, a 95 % interval over cells; ``score``; ``cells``.
    """
    cells = cell_scores(runs)
    tasks, methods = list(dict.fromkeys(cells["task"])), list(dict.fromkeys(cells["method"]))
    groups = [(EVERY_CELL, EVERY_CELL), *((task, EVERY_CELL) for task in tasks)]
    groups += [(EVERY_CELL, method) for method in methods]
    rows = []
    for task, method in groups:
        own = cells[cells["task"].isin([task] if task != EVERY_CELL else tasks)]
        own = own[own["method"].isin([method] if method != EVERY_CELL else methods)]
        rows += [{"task": task, "method": method, **row} for row in _of_group(own)]
    return pd.DataFrame(rows)


def trial_verdict(runs: pd.DataFrame) -> list[str]:
    """Return what the trial says of the advice, one sentence a criterion that was registered, and one that sums up.

    Args:
        runs: as :func:`cell_scores` takes them.
    """
    cells, regret = cell_scores(runs), regret_table(runs)
    rows = regret[(regret["task"] == EVERY_CELL) & (regret["method"] == EVERY_CELL)].to_dict("records")
    over_all = {row["kind"]: row for row in rows}
    places = cells[cells["kind"] == "uniform"]
    advising = int((places["verdict"] == ALLOCATION).sum())
    told = [
        f"In {number_of(len(places), 'cell')} the advice gave ranks by layer {number_of(advising, 'time')} and "
        f"abstained {number_of(len(places) - advising, 'time')}.",
        _never_below(runs),
        _against_random(over_all),
        _abstained(cells),
        _energy(over_all),
    ]
    return [sentence for sentence in told if sentence]


def _settled(runs: pd.DataFrame) -> pd.DataFrame:
    """Give runs that diverged the lowest scores of their cell."""
    runs = runs.copy()
    for column in ("validation", "test"):
        lowest = runs.groupby(_CELL)[column].transform("min")
        lost = runs["diverged"].astype(bool) | runs[column].isna()
        runs.loc[lost, column] = lowest[lost]
    return runs


def _of_cell(cell: Any, own: pd.DataFrame, uniform: Mapping[Any, "pd.Series[Any]"]) -> Iterator[dict[str, object]]:
    task, method, rank = cell
    names = set(own["allocation"])
    if not {UNIFORM_ALLOCATION, ADVISED_ALLOCATION} <= names:
        raise VxlabError(f"the cell {cell} has no run of uniform ranks, or none by energy; train these first")
    means = own.groupby("allocation")[["validation", "test"]].mean()
    tests, order = means["test"].tolist(), means["validation"].to_numpy()
    oracle, worst = tests[int(order.argmax())], tests[int(order.argmin())]
    if not own["allocation"].str.startswith("random").any():  # the best of two is no oracle
        oracle = worst = math.nan
    verdict = own["verdict"].iloc[0]
    thumb = (task, method, min(rank, TRIAL_RANKS[method][1]))
    advised = ADVISED_ALLOCATION if verdict == ALLOCATION else UNIFORM_ALLOCATION
    chosen: Mapping[str, pd.Series[Any]] = {
        "uniform": uniform[cell],
        "advised": own.loc[own["allocation"] == advised, "test"],
        "by energy": own.loc[own["allocation"] == ADVISED_ALLOCATION, "test"],
        "random": own.loc[own["allocation"].str.startswith("random"), "test"],
        "one module": own.loc[own["allocation"].str.startswith("only "), "test"],
        "rule of thumb": uniform.get(thumb, pd.Series(dtype=float)),
    }
    for kind in KINDS:
        if len(scores := np.asarray(chosen[kind], dtype=float)):
            score = float(scores.mean())
            yield {
                "task": task, "method": method, "budget_rank": rank, "verdict": verdict, "kind": kind,
                "score": score, "n": len(scores), "difference": score - float(uniform[cell].mean()),
                "missed": float(oracle) - score, "range": float(oracle - worst),
            }  # fmt: skip


def _of_group(cells: pd.DataFrame) -> Iterator[dict[str, object]]:
    for kind, own in cells.groupby("kind", sort=False):
        whole = own.dropna(subset=["missed"])
        missed, spans = whole["missed"].to_numpy(), whole["range"].to_numpy()
        chosen = np.random.default_rng(0).integers(max(1, len(whole)), size=(_RESAMPLES, len(whole)))
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = missed[chosen].sum(1) / spans[chosen].sum(1)
            regret = missed.sum() / spans.sum()
        low, high = np.quantile(draws, [0.025, 0.975]) if len(whole) > 2 else (np.nan, np.nan)
        difference, diff_low, diff_high = bootstrap_interval(own["difference"].tolist())
        yield {
            "kind": kind, "regret": regret, "low": low, "high": high, "difference": difference,
            "diff_low": diff_low, "diff_high": diff_high, "score": own["score"].mean(), "cells": len(own),
        }  # fmt: skip


def _never_below(runs: pd.DataFrame) -> str:
    """Arbiter the advised ranks by layer against uniform ones, cell by cell, paired by seed."""
    below, judged, few = [], 0, 0
    for cell, own in _settled(runs[runs["verdict"] == ALLOCATION]).groupby(_CELL, sort=False):
        scores = own.pivot_table(index="seed", columns="allocation", values="test")
        _, _, high = bootstrap_interval((scores[ADVISED_ALLOCATION] - scores[UNIFORM_ALLOCATION]).tolist())
        judged, few = judged + 1, few + int(np.isnan(high))
        if high < 0:
            below.append(f"{cell[0]}, {cell[1]} at r={cell[2]}")
    if not judged:
        return "It gave no ranks by layer, so that it was never below uniform ranks."
    if below:
        return f"Its ranks are below uniform ones by more than their seeds' interval in {'; '.join(below)}: it fails."
    if few:
        return f"Of {number_of(judged, 'cell')} with ranks by layer {few} have too few seeds in common to be judged."
    return (
        f"Nowhere in {number_of(judged, 'cell')} are its ranks below uniform ones by more than their seeds' interval."
    )


def _against_random(over_all: Mapping[str, Any]) -> str:
    if "random" not in over_all:
        return "Random allocations have not run."
    advised, drawn, uniform = (over_all[kind]["regret"] for kind in ("advised", "random", "uniform"))
    if not drawn > 0:
        return f"Random allocations have a regret of {drawn:.2f}, no worse than the oracle: half of that says nothing."
    passed = advised <= drawn / 2
    return (
        f"Its regret is {advised:.2f}, uniform's {uniform:.2f} and random's {drawn:.2f}: "
        f"{'at most' if passed else 'more than'} half of random's, so that it {'passes' if passed else 'fails'} here."
    )


def _abstained(cells: pd.DataFrame) -> str:
    own = cells[(cells["kind"] == "by energy") & (cells["verdict"] != ALLOCATION)]
    if not len(own):
        return ""
    mean, low, high = bootstrap_interval(own["difference"].tolist())
    told = f"Where it abstained, ranks by energy are {_points(mean)} from uniform ones"
    if np.isnan(low):
        return f"{told}, in one cell, which does not tell whether abstaining was right."
    told = f"{told} ({_points(low)} to {_points(high)})"
    if low <= 0 <= high:
        return f"{told}, not told apart: abstaining is not shown to have cost anything."
    better, right = ("better", "wrong") if low > 0 else ("worse", "right")
    return f"{told}, shown to be {better}: abstaining was {right}."


def _energy(over_all: Mapping[str, Any]) -> str:
    row = over_all["by energy"]
    low, high = row["diff_low"], row["diff_high"]
    verdict = "better than" if low > 0 else "worse than" if high < 0 else "no better than"
    return (
        f"Over all cells, on these tasks, ranks by energy are **{verdict} uniform ones**: {_points(row['difference'])} "
        f"({_points(low)} to {_points(high)}) of test score."
    )


def _points(fraction: float) -> str:
    return f"{write_number(100 * fraction, '+.1f')} points"
