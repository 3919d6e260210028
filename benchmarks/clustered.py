"""Simulated tables whose items come in units, such as films, and tables of candidates that learned nothing."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from vxlab.experiments.scoring import against_trivial, compare_all, compare_two, holm, interval

EFFECTS = (1, 2, 5, 10)
SIZES = ((40, 1000), (200, 2553))  # units, items
SPREAD = 0.8  # of the logarithms of units' sizes: packaged film reviews have 0.77
UNIT, ITEM, OWN, NOISE = 1.0, 3**0.5, 2.0, 0.6
"""Standard deviations: of a unit's and an item's difficulty for all candidates, of that for one candidate, and of what
a seed makes of it; the design effect says how much of the last two a unit's items share."""


def clustered_cells() -> Iterator[dict[str, Any]]:
    """Yield what is simulated in units, and how."""
    for units, items in SIZES:
        for effect in EFFECTS:
            for candidates in (2, 9):
                for seeds in (2, 3, 5):
                    size = {"units": units, "items": items, "effect": effect, "seeds": seeds}
                    yield {"kind": "in units, equal", "scores": [0.85] * candidates, **size}
                    worse = [0.85] * (candidates - 1) + [0.77]
                    yield {"kind": "in units, one 8 points worse", "scores": worse, **size}
            yield {"kind": "in units, single runs exchanged", "units": units, "items": items, "effect": effect}
            for score in (0.6, 0.85, 0.98):
                score_of = {"units": units, "items": items, "effect": effect, "score": score}
                yield {"kind": "in units, one score", **score_of}


def chance_cells() -> Iterator[dict[str, Any]]:
    """Yield what is simulated at chance, and how."""
    for units, items in ((100, 2553), (None, 872)):
        for candidates in (2, 9):
            for seeds in (3, 5):
                for above in (0.0, 0.02):
                    kind = "at chance, one 2 points above" if above else "at chance, all equal"
                    size = {"units": units, "items": items, "candidates": candidates, "seeds": seeds}
                    yield {"kind": kind, "above": above, **size}


def measured_in_units(tables: int, **cell: Any) -> dict[str, Any]:
    """Return the rates of one cell of :func:`clustered_cells`."""
    measure = {"in units, one score": _one_score, "in units, single runs exchanged": _exchanged}
    return measure.get(cell["kind"], _compared)(tables=tables, **cell)


def _compared(kind: str, tables: int, scores: list[float], units: int, items: int, effect: float, seeds: int) -> dict:
    true = np.subtract.outer(scores, scores)[np.triu_indices(len(scores), 1)]
    rows = []
    for number in range(tables):
        random = np.random.default_rng([number, items, seeds, int(effect)])
        of = unequal(random, units, items)
        right = in_units(random, of, scores, seeds, effect)
        row = _rates(right, of, true)
        if max(true) > 0:  # what as many independent items would have shown
            alone = in_units(random, np.arange(items), scores, seeds, 1)
            row["power_unclustered"] = _rates(alone, None, true)["power"]
        else:
            row |= {f"{name}_ignoring_units": value for name, value in _rates(right, None, true).items()}
        by_unit, by_item = _moves(right, of)
        row |= {"_by_unit": by_unit, "_by_item": by_item}
        rows.append(row)
    shares = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if np.isfinite(rows[0][name])}
    design_effect = float(shares.pop("_by_unit") / shares.pop("_by_item"))
    asked = {"kind": kind, "metric": "accuracy", "candidates": len(scores), "seeds": seeds, "items": items}
    asked |= {"units": units, "seed_sd_points": [1.0], "design_effect_asked": effect}
    return {**asked, "design_effect": round(design_effect, 2), "tables": tables, **_rounded(shares)}


def _rates(right: np.ndarray, units: np.ndarray | None, true: np.ndarray) -> dict[str, float]:
    runs = {str(i): dict(enumerate(each.astype(int))) for i, each in enumerate(right)}
    found = compare_all(runs, np.ones(right.shape[2], int), units=units)
    low, high, p = np.array([each[1:4] for each in found.values()]).T
    adjusted, equal = holm(p), true == 0
    return {
        "half_width_points": 100 * float(np.median(high - low)) / 2,
        "coverage": float(((low <= true) & (true <= high)).mean()),
        "pairs_falsely_told_apart_uncorrected": float((p[equal] <= 0.05).mean()) if equal.any() else np.nan,
        "tables_with_a_false_verdict": float((adjusted[equal] <= 0.05).any()) if equal.any() else np.nan,
        "power": float((adjusted[~equal] <= 0.05).mean()) if not equal.all() else np.nan,
    }


def _moves(right: np.ndarray, of: np.ndarray) -> tuple[float, float]:
    """Return the squared sums of the first two candidates' differences, by unit and by item."""
    different = right[0].mean(axis=0) - right[-1].mean(axis=0)
    different = different - different.mean()
    return float((np.bincount(of, weights=different) ** 2).sum()), float((different**2).sum())


def _exchanged(kind: str, tables: int, units: int, items: int, effect: float) -> dict[str, Any]:
    """Swap two single runs' answers in every other unit by chance: then neither is better, whatever they are."""
    p, moves = [], []
    for number in range(tables):
        random = np.random.default_rng([number, items, 1, int(effect)])
        of = unequal(random, units, items)
        a, b = in_units(random, of, [0.85, 0.77], 1, effect)[:, 0].astype(int)
        swap = (random.random(units) < 0.5)[of]
        a, b = np.where(swap, b, a), np.where(swap, a, b)
        p.append([compare_two({0: a}, {0: b}, np.ones(items, int), units=given).p for given in (of, None)])
        moves.append(_moves(np.array([[a], [b]]), of))
    with_units, without = (np.array(p) <= 0.05).mean(axis=0)
    rates = {"runs_falsely_told_apart": with_units, "runs_falsely_told_apart_ignoring_units": without}
    asked = {"kind": kind, "metric": "accuracy", "candidates": 2, "seeds": 1, "items": items, "units": units}
    by_unit, by_item = np.mean(moves, axis=0)
    told = {"design_effect_asked": effect, "design_effect": round(float(by_unit / by_item), 2), "tables": tables}
    return {**asked, **told, **_rounded(rates)}


def _one_score(kind: str, tables: int, units: int, items: int, effect: float, score: float) -> dict[str, Any]:
    """Ask how often the interval of one run's accuracy holds the expected one."""
    held, widths, moves = [], [], []
    for number in range(tables):
        random = np.random.default_rng([number, items, 1, int(effect), int(100 * score)])
        of = unequal(random, units, items)
        share = _share_for(effect, units, items, single=score)
        ease = norm.ppf(score) + np.sqrt(share) * random.standard_normal(units)[of]
        right = ease + np.sqrt(1 - share) * random.standard_normal(items) > 0
        found = [interval("accuracy", right, np.ones(items, int), units=given) for given in (of, None)]
        held.append([low <= score <= high for low, high in found])
        widths.append([high - low for low, high in found])
        residual = right - score
        moves.append([(np.bincount(of, weights=residual) ** 2).sum(), (residual**2).sum()])
    asked = {"kind": kind, "metric": "accuracy", "candidates": 1, "seeds": 1, "items": items, "units": units}
    by_unit, by_item = np.mean(moves, axis=0)
    told = {"score": score, "design_effect_asked": effect, "design_effect": round(float(by_unit / by_item), 2)}
    (cover, ignoring), (width, narrow) = np.mean(held, axis=0), np.mean(widths, axis=0)
    rates = {"coverage": cover, "half_width_points": 50 * width, "coverage_ignoring_units": ignoring}
    return {**asked, **told, "tables": tables, **_rounded(rates | {"half_width_points_ignoring_units": 50 * narrow})}


def measured_at_chance(
    kind: str, tables: int, units: int | None, items: int, candidates: int, seeds: int, above: float
) -> dict[str, Any]:
    """Return the rates of one cell of :func:`chance_cells`.

    Labels and answers both go with their units (most reviews of a film are of one mind), and not with each other; the
    trivial answer, too, is right half the time. The last candidate knows some answers where it is to be above.
    """
    rows = []
    for number in range(tables):
        random = np.random.default_rng([number, items, seeds, candidates])
        of = np.arange(items) if units is None else unequal(random, units, items)
        runs, labels = guesses(random, of, candidates, seeds, above)
        given = None if units is None else of
        beaten = np.array([each.beaten for each in against_trivial(runs, labels, constant=0, units=given).values()])
        ignoring = [each.beaten for each in against_trivial(runs, labels, constant=0).values()]
        compared = compare_all(runs, labels, units=given)
        apart = holm([each.p for each in compared.values()]) <= 0.05
        of_last = np.array([str(candidates - 1) in pair for pair in compared])
        last = above > 0
        equal = beaten[:-1] if last else beaten
        rows.append(
            {
                "tables_with_a_false_beaten": float(equal.any()),
                "tables_with_a_false_beaten_ignoring_units": float(any(ignoring[:-1] if last else ignoring)),
                "tables_with_a_false_verdict": float(apart[~of_last].any()) if last else float(apart.any()),
                "power_against_trivial": float(beaten[-1]) if last else np.nan,
                "power_against_others": float(apart[of_last].mean()) if last else np.nan,
                "power_against_any_other": float(apart[of_last].any()) if last else np.nan,
            }
        )
    shares = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if np.isfinite(rows[0][name])}
    asked = {"kind": kind, "metric": "accuracy", "candidates": candidates, "seeds": seeds, "items": items}
    return {**asked, "units": units, "tables": tables, **_rounded(shares)}


def guesses(
    random: np.random.Generator, of: np.ndarray, candidates: int, seeds: int, above: float
) -> tuple[dict[str, dict[int, np.ndarray]], np.ndarray]:
    """Draw candidates' answers that have nothing to do with the labels, but for what the last one knows."""
    units, items = int(of.max()) + 1, len(of)
    mood = 0.7 if units < items else 0.0  # sd of a unit's lean in label and in answer
    labels = (mood * random.standard_normal(units)[of] + random.standard_normal(items) > 0).astype(int)
    lean = mood * random.standard_normal((candidates, 1, units))[:, :, of]
    taste = random.standard_normal((candidates, 1, items))
    answers = (lean + taste + NOISE * random.standard_normal((candidates, seeds, items)) > 0).astype(int)
    knows = random.random(items) < 2 * above
    answers[-1] = np.where(knows, labels, answers[-1])
    return {str(i): dict(enumerate(each)) for i, each in enumerate(answers)}, labels


def unequal(random: np.random.Generator, units: int, items: int) -> np.ndarray:
    """Return the unit of each item: units of unequal size, at least one item each."""
    sizes = random.lognormal(0, SPREAD, units)
    return np.sort(np.concatenate([np.arange(units), random.choice(units, items - units, p=sizes / sizes.sum())]))


def in_units(
    random: np.random.Generator, of: np.ndarray, scores: Sequence[float], seeds: int, effect: float, luck: float = 1.0
) -> np.ndarray:
    """Draw which items each run of each candidate answers rightly, as ``verdicts.simulated`` does, in units.

    Args:
        random: the generator.
        of: (items,) their units.
        scores: (candidates,) expected scores.
        seeds: runs a candidate.
        effect: how many times as large as of independent items the variance of a difference of two candidates is.
        luck: points by which the expected score of a run varies with its seed.

    Returns:
        (candidates, seeds, items) of bool.
    """
    shape, units = (len(scores), seeds, len(of)), int(of.max()) + 1
    share = _share_for(effect, units, len(of))
    quantile, spread = norm.ppf(scores), np.sqrt(UNIT**2 + ITEM**2 + OWN**2 + NOISE**2)
    lucky = luck * spread / (100 * norm.pdf(quantile)) if seeds > 1 else np.zeros(len(scores))
    level = (quantile * np.sqrt(spread**2 + lucky**2))[:, None] + lucky[:, None] * random.standard_normal(shape[:2])
    shared = UNIT * random.standard_normal(units)[of] + ITEM * random.standard_normal(len(of))
    own = _mixed(random, (shape[0], 1), of, OWN, share)
    return level[:, :, None] + shared + own + _mixed(random, shape[:2], of, NOISE, share) > 0


def _mixed(random: np.random.Generator, shape: tuple[int, int], of: np.ndarray, sd: float, share: float) -> np.ndarray:
    together = random.standard_normal((*shape, int(of.max()) + 1))[:, :, of] if share else 0
    return sd * (np.sqrt(share) * together + np.sqrt(1 - share) * random.standard_normal((*shape, len(of))))


@functools.cache
def _share_for(effect: float, units: int, items: int, single: float | None = None) -> float:
    """Return what share of the own variance a unit's items must have in common for a design effect."""
    if effect == 1:
        return 0.0
    random = np.random.default_rng(0)
    large = np.mean([(np.bincount(unequal(random, units, items)) ** 2.0).sum() / items for _ in range(200)])
    wanted, low, high = (effect - 1) / (large - 1), 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if _alike(middle, single) < wanted else (low, middle)
    return (low + high) / 2


def _alike(share: float, single: float | None, pairs: int = 200_000) -> float:
    """Return the correlation of two items of one unit: of the difference of two candidates, or of one's hits."""
    random, of = np.random.default_rng(1), np.repeat(np.arange(pairs), 2)
    if single is not None:
        drawn = np.sqrt(share) * random.standard_normal(pairs)[of] + np.sqrt(1 - share) * random.standard_normal(
            len(of)
        )
        different = (norm.ppf(single) + drawn > 0) - single
    else:
        level = norm.ppf(0.85) * np.sqrt(UNIT**2 + ITEM**2 + OWN**2 + NOISE**2)
        shared = level + UNIT * random.standard_normal(pairs)[of] + ITEM * random.standard_normal(len(of))
        hits = [
            np.mean([shared + own + _mixed(random, (1, 1), of, NOISE, share)[0, 0] > 0 for _ in range(3)], axis=0)
            for own in (_mixed(random, (1, 1), of, OWN, share)[0, 0] for _ in range(2))
        ]
        different = hits[0] - hits[1]
    return float((different[::2] * different[1::2]).mean() / (different**2).mean())


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in shares.items()}
