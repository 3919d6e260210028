"""What a sweep's candidates gain over its floor: the strongest of those that train nothing in the backbone."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vxlab.experiments.candidates.pairs import fixed_candidates
from vxlab.experiments.candidates.rivals import Rival, after_holm, rivals_of
from vxlab.experiments.candidates.score_words import mean_in_words, score_in_words


def floor_of(finished: Mapping[str, Any]) -> str | None:
    """Return the candidate of the highest mean among those that train nothing in the backbone.

    These are a probe, the head, and the untuned base of a model that writes.

    Args:
        finished: rows of a summary of which a run finished, by candidate.

    >>> rows = {"probe": (0, 0.76), "head only": (0, 0.61), "VeRA r=8": (4704, 0.8)}
    >>> floor_of({name: {"backbone": size, "mean": mean} for name, (size, mean) in rows.items()})
    'probe'
    """
    return max(_floors(finished), key=lambda name: float(finished[name]["mean"]), default=None)


def floor(finished: Mapping[str, Any], pairs: pd.DataFrame, metric: str) -> str:
    """Say how many candidates are shown to beat the floor, and what the highest of them gains; "" without a floor.

    Args:
        finished: rows of a summary of which a run finished, by candidate.
        pairs: of this summary.
        metric: whose scores they are.
    """
    name, floors = floor_of(finished), _floors(finished)
    rivals = rivals_of(name, pairs) if name is not None else []
    others = [rival for rival in rivals if rival.name not in floors]
    if name is None or not others:
        return ""
    weaker = [rival for rival in rivals if rival.name in floors]
    head = finished[name].get("head")
    nothing = "nothing" if pd.notna(head) and head == 0 else "nothing in the backbone"
    told = [
        f"The floor, which trains {nothing}, is **{name}**: {mean_in_words(finished[name], metric)}"
        f"{_beside(weaker, finished, metric)}.",
        _gains(others, pairs, metric),
        *(f"{each.name} is shown to score less than it: trained like this it is no fair floor."
          for each in weaker if each.seen),
    ]  # fmt: skip
    # A probe that ran on several draws has their luck, and is not fixed.
    if not fixed_candidates(finished) and "probe" not in {row.get("method") for row in finished.values()}:
        told.append("No probe is beside it: an undertrained head would flatter these gains.")
    return " ".join(told)


def _floors(finished: Mapping[str, Any]) -> list[str]:
    return [name for name, row in finished.items() if pd.notna(row["backbone"]) and row["backbone"] == 0]


def _beside(weaker: Sequence[Rival], finished: Mapping[str, Any], metric: str) -> str:
    told = [f"{each.name} {score_in_words(finished[each.name]['mean'], metric)}" for each in weaker]
    return f", beside {', '.join(told)}" if told else ""


def _gains(others: Sequence[Rival], pairs: pd.DataFrame, metric: str) -> str:
    """Say how many are shown to beat it, and the difference of the highest."""
    beat = sum(each.seen and each.difference > 0 for each in others)
    of = f"of {len(others)} others" if len(others) > 1 else f"by {others[0].name}"
    first = others[0]
    if len(others) == 1:
        shown = "is shown to beat it" if beat else "is not shown to beat it"
        return f"{first.name} {shown}, {after_holm(pairs)}: {first.in_words(metric)}."
    shown = f"{beat} {of} {'is' if beat == 1 else 'are'} shown to beat it" if beat else f"None {of} is shown to beat it"
    verb = "gains" if first.seen and first.difference > 0 else "differs by"
    return f"{shown}, {after_holm(pairs)}; the highest, {first.name}, {verb} {first.in_words(metric)}."
