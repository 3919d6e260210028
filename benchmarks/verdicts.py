"""Measure how often sweeps' verdicts err: false differences, missed ones, and the coverage of the intervals.

    python benchmarks/verdicts.py [--tables 200] [--only independent|clustered|chance|drawn]

Simulates tables of candidates whose expected scores are known, and writes benchmarks/results/verdicts.json: those of
independent items, those whose items come in units (clustered.py), those of candidates at chance, and those of few-shot
candidates on the same draws (drawn.py). Long on one core: the whole was never timed in one go.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from clustered import chance_cells, clustered_cells, measured_at_chance, measured_in_units
from drawn import drawn_cells, measured_on_draws
from scipy.stats import norm

from vxlab.experiments.scoring import compare_all, compute, holm

RESULTS = Path(__file__).parent / "results" / "verdicts.json"
DIFFICULTY, NOISE = 2.0, 0.6  # sd of an item's difficulty and of what a seed makes of it: seeds differ on 1 item in 10
DRAWS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--tables", type=int, default=200, help="simulated tables a cell; more of two candidates, and in units"
    )
    parser.add_argument("--only", choices=PARTS, help="renew this part, and keep the other rows as they are")
    asked = parser.parse_args()
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if asked.only else []
    parts = {name: [row for row in kept if part_of(row["kind"]) == name] for name in PARTS}
    for name in [asked.only] if asked.only else PARTS:
        parts[name] = []
        for row in PARTS[name](asked.tables):
            print(json.dumps(row), flush=True)
            parts[name].append(row)
    RESULTS.parent.mkdir(exist_ok=True)
    rows = [row for part in parts.values() for row in part]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def part_of(kind: str) -> str:
    """Return the part of the study that a row is of."""
    return {"in units": "clustered", "at chance": "chance", "on draws": "drawn"}.get(
        kind.partition(",")[0], "independent"
    )


def independent(tables: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of independent items."""
    for each in cells():
        yield measured(tables=tables if len(each["scores"]) > 2 else 3 * tables, **each)


def clustered(tables: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of items in units; more tables of equal candidates, whose rates are held to a limit."""
    for each in clustered_cells():
        several = 1 if len(each.get("scores", ())) > 2 else 4
        yield measured_in_units(several * (tables if "worse" in each["kind"] else 2 * tables), **each)


def chance(tables: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of candidates at chance."""
    for each in chance_cells():
        yield measured_at_chance(tables=3 * tables, **each)


def drawn(tables: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of candidates on the same draws."""
    for each in drawn_cells():
        yield measured_on_draws(tables=2 * tables if each["candidates"] > 2 else 4 * tables, **each)


PARTS = {"independent": independent, "clustered": clustered, "chance": chance, "drawn": drawn}


def cells() -> Iterator[dict[str, Any]]:
    """Yield the study: what is simulated, and how."""
    for candidates in (2, 9):
        for kind, own_items in (("copies of one candidate", 0.0), ("equal methods, each with items of its own", 1.0)):
            for items in (200, 872, 2553):
                for seeds in (2, 3, 5):
                    for sd in (0.5, 2.0):
                        yield cell(kind, [0.85] * candidates, seeds, items, [sd] * candidates, own_items=own_items)
    for seeds in (2, 3, 5):
        yield cell("98 % right", [0.98] * 9, seeds, 872, [0.3] * 9)
        yield cell("five steady, four not", [0.85] * 9, seeds, 872, [0.5] * 5 + [2.0] * 4)
        yield cell("seven steady, two not at all", [0.85] * 9, seeds, 872, [0.5] * 7 + [3.0] * 2)
        yield cell("one seed in ten 8 points lower", [0.85] * 9, seeds, 872, [0.5] * 9, unlucky=0.1)
        for candidates in (2, 9):
            for sd in (0.5, 1.0, 2.0):
                worse = [0.85] * (candidates - 1) + [0.77]
                yield cell("one 8 points worse", worse, seeds, 500, [sd] * candidates)
        yield cell("copies of one candidate", [0.85] * 2, seeds, 872, [1.0] * 2, metric="matthews")
        yield cell("one 8 points worse, one collapsed", [0.85] * 8 + [0.77], seeds, 500, [0.5] * 9, collapsed=True)


def cell(kind: str, scores: list[float], seeds: int, items: int, seed_sd: list[float], **more: Any) -> dict[str, Any]:
    return {"kind": kind, "scores": scores, "seeds": seeds, "items": items, "seed_sd": seed_sd, **more}


def measured(
    kind: str, tables: int, metric: str = "accuracy", collapsed: bool = False, **settings: Any
) -> dict[str, Any]:
    """Return the rates of one cell, each a share of tables or of pairs; widths and spreads are in points."""
    candidates, seeds, items = len(settings["scores"]), settings["seeds"], settings["items"]
    true = np.subtract.outer(settings["scores"], settings["scores"])[np.triu_indices(candidates, 1)]
    # One seed of the first candidate ends at chance: its expected score is not what was asked for, nor its pairs'.
    counted = np.arange(len(true)) >= (candidates - 1 if collapsed else 0)
    rows = []
    for number in range(tables):
        random = np.random.default_rng([number, items, seeds])
        answers = simulated(random, **settings)
        if collapsed:
            answers[0, 0] = random.random(items) < 0.5
        rows.append(_judged(*as_predictions(random, answers), metric, true, counted))
    shares = {name: _mean([row[name] for row in rows]) for name in rows[0]}
    sds = sorted(set(settings["seed_sd"]))
    asked = {"kind": kind, "metric": metric, "candidates": candidates, "seeds": seeds, "items": items}
    return {**asked, "seed_sd_points": sds, "tables": tables, **shares}


def as_predictions(random: np.random.Generator, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (candidates, seeds, items) predictions that are right where asked, and labels of two classes."""
    labels = random.integers(0, 2, answers.shape[2])
    return np.where(answers, labels, 1 - labels), labels


def simulated(
    random: np.random.Generator,
    scores: Sequence[float],
    seeds: int,
    items: int,
    seed_sd: Sequence[float],
    own_items: float = 0.0,
    unlucky: float = 0.0,
) -> np.ndarray:
    """Draw which items each run of each candidate answers rightly.

    A run answers an item when level + difficulty + the candidate's own difficulty + the seed's luck + noise > 0, all
    normal, so that the expected score is exact.

    Args:
        random: the generator.
        scores: (candidates,) expected scores.
        seeds: runs a candidate.
        items: test items.
        seed_sd: (candidates,) points by which the expected score of a run varies with its seed.
        own_items: sd of the difficulty that an item has for one candidate and not for the others.
        unlucky: the chance that a seed scores 8 points less; lowers every candidate's expectation alike.

    Returns:
        (candidates, seeds, items) of bool.
    """
    shape = len(scores), seeds, items
    quantile = norm.ppf(scores)
    spread = np.sqrt(DIFFICULTY**2 + own_items**2 + NOISE**2)
    points = spread / (100 * norm.pdf(quantile))  # of the scale below, in one point of score
    luck_sd = np.asarray(seed_sd) * points
    level = quantile * np.sqrt(spread**2 + luck_sd**2)
    luck = random.standard_normal(shape[:2]) * luck_sd[:, None]
    luck -= (random.random(shape[:2]) < unlucky) * 8 * points[:, None]
    item = DIFFICULTY * random.standard_normal(items)
    own = own_items * random.standard_normal((shape[0], 1, items))
    return (level[:, None] + luck)[:, :, None] + item + own + NOISE * random.standard_normal(shape) > 0


def _judged(
    predictions: np.ndarray, labels: np.ndarray, metric: str, true: np.ndarray, counted: np.ndarray
) -> dict[str, float]:
    runs = {str(i): dict(enumerate(each)) for i, each in enumerate(predictions)}
    low, high, p = np.array([each[1:4] for each in compare_all(runs, labels, metric).values()]).T
    adjusted, equal, unequal = holm(p), (true == 0) & counted, (true != 0) & counted
    last = [compute([metric], each, labels)[metric] for each in predictions[-1]]
    row = {
        "score_sd_points": 100 * float(np.std(last, ddof=1)),
        "half_width_points": 100 * float(np.median((high - low)[counted])) / 2,
        "coverage": _share(((low <= true) & (true <= high))[counted]),
        "pairs_falsely_told_apart_uncorrected": _share(p[equal] <= 0.05),
        "tables_with_a_false_verdict": float((adjusted[equal] <= 0.05).any()),
        "power": _share(adjusted[unequal] <= 0.05),
    }
    if metric == "accuracy":
        low, high, p = _plain_bootstrap(predictions == labels)
        row["plain_bootstrap_coverage"] = _share(((low <= true) & (true <= high))[counted])
        row["plain_bootstrap_tables_with_a_false_verdict"] = float((holm(p)[equal] <= 0.05).any())
    return row


def _plain_bootstrap(answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return percentile intervals and p-values of the textbook bootstrap: items paired, seeds drawn within each."""
    candidates, seeds, items = answers.shape
    random = np.random.default_rng(0)
    weights = _weights(items)
    scores = (answers.reshape(-1, items) @ weights).reshape(candidates, seeds, DRAWS)
    drawn = random.integers(seeds, size=(candidates, seeds, DRAWS))
    means = np.take_along_axis(scores, drawn, axis=1).mean(axis=1)
    differences = np.array([means[a] - means[b] for a, b in combinations(range(candidates), 2)])
    low, high = np.quantile(differences, [0.025, 0.975], axis=1)
    tail = np.minimum((differences <= 0).mean(axis=1), (differences >= 0).mean(axis=1))
    return low, high, np.minimum(1, 2 * tail)


_KEPT: dict[int, np.ndarray] = {}


def _weights(items: int) -> np.ndarray:
    """Return (items, draws) shares of each item in each draw, the same for every table."""
    if items not in _KEPT:
        drawn = np.random.default_rng(1).multinomial(items, np.full(items, 1 / items), size=DRAWS)
        _KEPT[items] = drawn.T.astype(np.float32) / np.float32(items)
    return _KEPT[items]


def _share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def _mean(values: list[float]) -> float | None:
    mean = float(np.mean(values))
    return None if np.isnan(mean) else round(mean, 4)


if __name__ == "__main__":
    main()
