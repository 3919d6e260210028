"""Hold intervals against other test films: does what one half of the films says hold on the other half?

    python benchmarks/films.py [--store reports/runs.db] [--halvings 500]

Takes the reported runs of benchmarks/scores.py on film reviews (four trained candidates, three seeds each) from the
store, parts the 100 test films at random in two halves, many times, and counts how often the interval of one half
contains the score on the other. Writes benchmarks/results/films.json. A minute on one core.

Two halves differ by the noise of both, so that a 95 % interval for the *expected* score, as the library gives it,
contains the *observed* score of another half of equal noise in P(|Z| < 1.96/√2) = 83 % of the cases; the interval for
another half's observed score is √2 times as wide, and is to contain it in 95 %.
"""

import argparse
import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scores import fair

import vxlab
from vxlab.experiments.scoring import compare_two, interval

RESULTS = Path(__file__).parent / "results" / "films.json"
CANDIDATES = ("head only", "VeRA r=256", "LoRA-XS r=16", "LoRA r=8")
KINDS = ("items as independent", "films as units")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", default="reports/runs.db", help="the store that benchmarks/scores.py filled")
    parser.add_argument("--halvings", type=int, default=500)
    given = parser.parse_args()
    result = vxlab.compare(fair("rotten_tomatoes"), store=given.store, train=False)
    reported = result.runs.query("stage == 'report' and candidate in @CANDIDATES")
    runs = {(row["candidate"], int(row["seed"])): result.records[row["key"]] for row in reported.to_dict("records")}
    first = next(iter(runs.values()))
    labels, films = first.predictions()[1].numpy(), first.units()
    answers = {name: run.predictions()[0].numpy().argmax(axis=1) for name, run in runs.items()}
    found = {
        "runs": len(answers),
        "films": int(films.max()) + 1,
        "items": len(labels),
        "halvings": given.halvings,
        "scores": shares(answers, labels, films, given.halvings),
        "differences": differences(answers, labels, films, given.halvings // 5),
        "design_effects": {" ".join(map(str, name)): effect(own == labels, films) for name, own in answers.items()},
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def halves(films: np.ndarray, halvings: int) -> Any:
    """Yield the items of two random halves of the films."""
    names = np.unique(films)
    for number in range(halvings):
        order = np.random.default_rng(number).permutation(names)
        first = np.isin(films, order[: len(names) // 2])
        yield np.flatnonzero(first), np.flatnonzero(~first)


def shares(answers: dict[Any, np.ndarray], labels: np.ndarray, films: np.ndarray, halvings: int) -> dict[str, float]:
    """Return how often the interval on one half contains the score on the other, by kind of interval."""
    held: dict[str, list[bool]] = {}
    for one, other in halves(films, halvings):
        for given in answers.values():
            score = float((given[other] == labels[other]).mean())
            for kind, units in zip(KINDS, (None, films[one]), strict=True):
                low, high = interval("accuracy", given[one], labels[one], units=units)
                wide = widened((low, high), len(one), len(other))
                held.setdefault(f"{kind}, interval for the expected score", []).append(low <= score <= high)
                held.setdefault(f"{kind}, interval for another half", []).append(wide[0] <= score <= wide[1])
    return {kind: round(float(np.mean(each)), 4) for kind, each in held.items()}


def differences(
    answers: dict[Any, np.ndarray], labels: np.ndarray, films: np.ndarray, halvings: int
) -> dict[str, float]:
    """Return the same for the differences of two runs of one seed."""
    held: dict[str, list[bool]] = {}
    pairs = [(a, b) for a, b in combinations(answers, 2) if a[1] == b[1]]
    for one, other in halves(films, halvings):
        for a, b in pairs:
            seen = float((answers[a][other] == labels[other]).mean() - (answers[b][other] == labels[other]).mean())
            for kind, units in zip(KINDS, (None, films[one]), strict=True):
                compared = compare_two({0: answers[a][one]}, {0: answers[b][one]}, labels[one], units=units)
                low, high = widened((compared.low, compared.high), len(one), len(other))
                held.setdefault(f"{kind}, interval for another half", []).append(low <= seen <= high)
    return {kind: round(float(np.mean(each)), 4) for kind, each in held.items()}


def widened(bounds: tuple[float, float], items: int, others: int) -> tuple[float, float]:
    """Widen an interval of the expectation to one of what other items, of this number, score."""
    middle, half = sum(bounds) / 2, (bounds[1] - bounds[0]) / 2 * math.sqrt(1 + items / others)
    return middle - half, middle + half


def effect(right: np.ndarray, films: np.ndarray) -> float:
    """Return how many times the variance of a score is over films what it would be over independent items."""
    off = np.bincount(films, weights=right - right.mean())
    count = len(off)
    return round(float((off**2).sum() * count / (count - 1) / (len(right) * right.var())), 2)


if __name__ == "__main__":
    main()
