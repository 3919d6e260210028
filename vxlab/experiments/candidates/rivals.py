"""One candidate against every other of its sweep, as the table of pairs has them."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from vxlab.experiments.candidates.pairs import difference_in_words, interval_in_words
from vxlab.experiments.scoring import LEVEL, Evidence, equivalence_p, from_error, holm, noninferiority_p


class Rival(NamedTuple):
    """Another candidate, and by how much its expected score is above that of the one all are compared with."""

    name: str
    difference: float
    low: float
    high: float
    seen: bool
    """whether the two are told apart, after Holm's correction over all pairs"""
    covers_seeds: bool
    """whether this allows for other training seeds, or for other test items alone"""
    evidence: Evidence

    def in_words(self, metric: str) -> str:
        """Return the difference with its interval."""
        return f"{difference_in_words(self.difference, metric)}, {interval_in_words(self.low, self.high, metric)}"


def rivals_of(name: str, pairs: pd.DataFrame) -> list[Rival]:
    """Return every other candidate that could be compared with one, the highest score first."""
    rivals = []
    for pair in pairs.to_dict("records"):
        if name in (pair["a"], pair["b"]) and math.isfinite(pair["difference"]):
            other, sign = (pair["a"], 1) if pair["b"] == name else (pair["b"], -1)
            low, high = sorted((sign * pair["low"], sign * pair["high"]))
            told = (sign * pair["difference"], low, high)
            evidence = from_error(told[0], pair["error"], pair["freedom"])
            rivals.append(Rival(other, *told, bool(pair["seen"]), bool(pair["covers_seeds"]), evidence))
    return sorted(rivals, key=lambda rival: -rival.difference)


def not_worse(rivals: Sequence[Rival], margin: float) -> set[str]:
    """Return the rivals that are shown to be worse by less than a margin, after Holm's correction over all of them."""
    return _shown(rivals, margin, noninferiority_p)


def equivalent(rivals: Sequence[Rival], margin: float) -> set[str]:
    """Return the rivals that are shown to differ by less than a margin, either way, after Holm's correction."""
    return _shown(rivals, margin, equivalence_p)


def _shown(rivals: Sequence[Rival], margin: float, test: Callable[[Evidence, float], float]) -> set[str]:
    adjusted = holm([test(rival.evidence, margin) for rival in rivals])
    return {rival.name for rival, p in zip(rivals, adjusted, strict=True) if p <= LEVEL and rival.covers_seeds}


def over_rivals(rivals: Sequence[Rival]) -> str:
    """Return after what correction :func:`not_worse` and :func:`equivalent` show something, in brackets."""
    return f" (after Holm over {len(rivals)} tests)" if len(rivals) > 1 else ""


def after_holm(pairs: pd.DataFrame) -> str:
    """Return after what correction a table's pairs are told apart."""
    count = int(pairs["p_holm"].notna().sum())
    return f"after Holm over {count} comparisons" if count > 1 else "at p ≤ 0.05"
