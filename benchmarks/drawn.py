"""Simulated tables of few-shot candidates: all learn from the same few draws of rows, each run with its own seed."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import norm

from vxlab.experiments.scoring import against_trivial, compare_all, holm

DIFFICULTY, NOISE = 2.0, 0.6  # sd of an item's difficulty and of what a run makes of it, as verdicts.py has them
SCORE, WORSE = 0.6, 0.04  # what few shots reach, and by how much the last candidate is worse where one is


def drawn_cells() -> Iterator[dict[str, Any]]:
    """Yield what is simulated on draws, and how.

    Standard deviations in points of score: ``shared``, of what a draw gives to all candidates; ``family``, of what it
    gives to every other candidate alike; ``own``, of what it gives to one candidate, with its run's seed.
    """
    lucks = {
        "shared": {"shared": 4.0, "own": 1.0},
        "not shared": {"shared": 0.0, "own": 2.0},
        "by family": {"shared": 4.0, "family": 2.0, "own": 1.0},
    }
    for (luck, sds), candidates, draws in product(lucks.items(), (2, 3, 5, 9), (2, 3, 5)):
        size = {"candidates": candidates, "draws": draws, "items": 486}
        yield {"kind": f"on draws, equal, {luck}", **size, **sds}
        if luck != "by family":
            yield {"kind": f"on draws, one 4 points worse, {luck}", "worse": WORSE, **size, **sds}
    for candidates, draws in product((2, 5), (3, 5)):
        size = {"candidates": candidates, "draws": draws, "items": 2000, "shared": 2.0}
        yield {"kind": "on draws, equal, same items lost by a draw", "lost_items": 1.0, "own": 0.5, **size}
        for share in (0.1, 0.3, 0.6):
            yield {"kind": "on draws, equal, of a small pool", "share": share, "own": 2.0, **size}


def measured_on_draws(tables: int, kind: str, candidates: int, draws: int, items: int, **luck: Any) -> dict[str, Any]:
    """Return the rates of one cell of :func:`drawn_cells`, each a share of tables or of pairs; widths in points.

    Beside the pairs by draw stands ``unpaired``: the same runs as though each candidate had draws of its own.
    """
    rows = []
    for number in range(tables):
        random = np.random.default_rng([number, candidates, draws, items])
        rows.append(_rates(on_draws(random, candidates, draws, items, **luck), luck))
    shares = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    asked = {"kind": kind, "metric": "accuracy", "candidates": candidates, "draws": draws, "items": items}
    return {**asked, **luck, "tables": tables, **{name: round(value, 4) for name, value in shares.items()}}


def on_draws(
    random: np.random.Generator,
    candidates: int,
    draws: int,
    items: int,
    shared: float = 0.0,
    family: float = 0.0,
    own: float = 1.0,
    worse: float = 0.0,
    share: float = 0.0,
    lost_items: float = 0.0,
) -> np.ndarray:
    """Draw which items each candidate answers rightly on each draw: (candidates, draws, items) of bool.

    Args:
        random: the generator.
        candidates: of one expected score; the last ``worse`` by so much.
        draws: that all learn from.
        items: test items.
        shared: sd in points of what a draw gives to all alike.
        family: sd in points of what a draw gives to every second candidate alike.
        own: sd in points of what a draw and a run's seed give to one candidate.
        worse: of the last candidate.
        share: of its rows that a draw takes: so much of a draw's variance is that of the rows it is drawn from, the
            same in all draws.
        lost_items: sd of what a draw makes of an item for all candidates alike.
    """
    scores = np.full(candidates, SCORE) - worse * (np.arange(candidates) == candidates - 1)
    quantile, spread = norm.ppf(scores), np.sqrt(DIFFICULTY**2 + NOISE**2 + lost_items**2)
    points = spread / (100 * norm.pdf(quantile[0]))

    def luck(sd: float, several: int) -> np.ndarray:
        drawn, pool = random.standard_normal((several, draws)), random.standard_normal((several, 1))
        return sd * points * (np.sqrt(1 - share) * drawn + np.sqrt(share) * pool)

    of_draw = luck(shared, 1) + luck(family, 2)[np.arange(candidates) % 2] + luck(own, candidates)
    level = quantile * np.sqrt(spread**2 + points**2 * (shared**2 + family**2 + own**2))
    item = DIFFICULTY * random.standard_normal(items) + lost_items * random.standard_normal((draws, items))
    noise = NOISE * random.standard_normal((candidates, draws, items))
    return (level[:, None] + of_draw)[:, :, None] + item + noise > 0


def as_runs(right: np.ndarray, by_draw: bool = True) -> dict[str, dict[Any, np.ndarray]]:
    """Return candidates' runs of two classes, all of whose labels are 1: by draw, each with its seed, or by seed."""
    return {
        str(i): {(draw, draw) if by_draw else draw: run for draw, run in enumerate(each.astype(int))}
        for i, each in enumerate(right)
    }


def _rates(right: np.ndarray, luck: dict[str, Any]) -> dict[str, float]:
    candidates = len(right)
    worse, drawn = luck.get("worse", 0.0), dict.fromkeys(map(str, range(candidates)), luck.get("share", 0.0))
    true = np.zeros(candidates * (candidates - 1) // 2)
    true[np.triu_indices(candidates, 1)[1] == candidates - 1] = worse
    labels = np.ones(right.shape[2], int)
    ways = {"": (as_runs(right), drawn), "unpaired_": (as_runs(right, by_draw=False), {})}
    if luck.get("share"):
        ways["unwidened_"] = as_runs(right), {}
    row = {
        way + name: value
        for way, (runs, taken) in ways.items()
        for name, value in _of_pairs(compare_all(runs, labels, drawn=taken).values(), true).items()
    }
    return row | {"false_against_trivial": _false_above(right, drawn)}


def _of_pairs(found: Any, true: np.ndarray) -> dict[str, float]:
    low, high, p = np.array([each[1:4] for each in found]).T
    adjusted, equal = holm(p), true == 0
    row = {"half_width_points": 100 * float(np.median(high - low)) / 2}
    row["coverage"] = float(((low <= true) & (true <= high)).mean())
    if equal.any():
        row["pairs_falsely_told_apart_uncorrected"] = float((p[equal] <= 0.05).mean())
        row["tables_with_a_false_verdict"] = float((adjusted[equal] <= 0.05).any())
    return row if equal.all() else row | {"power": float((adjusted[~equal] <= 0.05).mean())}


def _false_above(right: np.ndarray, drawn: dict[str, float]) -> float:
    """Say whether any candidate is said to beat an answer that scores as they are expected to."""
    items = right.shape[2]
    # The constant answer is right on as many items as the candidates' expected score has.
    labels = (np.arange(items) < round(SCORE * items)).astype(int)
    runs = {
        name: {key: np.where(run == 1, labels, 1 - labels) for key, run in each.items()}
        for name, each in as_runs(right).items()
    }
    found = against_trivial(runs, labels, constant=1, drawn=drawn)
    return float(any(each.beaten for each in found.values()))
