"""Say in plain words what a sweep showed: what beats chance, what scores highest, and what may stand in for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments.candidates.cheapest import cheapest
from vxlab.experiments.candidates.floor import floor
from vxlab.experiments.candidates.held_out import HeldOut
from vxlab.experiments.candidates.pairs import by_candidate, difference_in_words, fixed_candidates
from vxlab.experiments.candidates.rivals import Rival, after_holm, equivalent, over_rivals, rivals_of
from vxlab.experiments.candidates.score_words import mean_in_words, score_in_words
from vxlab.experiments.scoring import in_words
from vxlab.words import number_of

MARGIN = 0.02
"""what counts as no loss where nothing else is asked for: 2 points, or of a log-likelihood 0.02 nats"""
_FEW = {"seed": 2, "draw": 3}
"""up to which a sweep is called small"""


def verdict(
    pairs: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    metric: str,
    held_out: HeldOut,
    tuned: bool = True,
    margin: float = MARGIN,
) -> str:
    """Return what a sweep showed, as a Markdown list.

    First what is not shown to beat the trivial answer; where nothing is, nothing is ranked. Then the highest mean,
    which is called best only where it is told apart from every other candidate; what is gained over the floor, the
    strongest candidate that trains nothing in the backbone; the cheapest that is shown to lose less than the margin, or
    else that cannot be told apart, where the data say so much; the pairs of equal rank and of matched parameters; the
    learning rates on the edge of their range; the runs that diverged; and where seeds are few.

    Args:
        pairs: from :func:`vxlab.experiments.candidates.pairs.pairs_table`, of this summary.
        summary: a row a candidate: ``candidate``, ``mean``, ``scores``, ``n``, ``diverged``, ``backbone``, ``edge``,
            ``fixed``, perhaps ``draws``, and ``above``, whether it is shown to beat the trivial answer.
        metric: name of the score.
        held_out: the test split.
        tuned: whether each candidate's learning rate was chosen among several.
        margin: the largest loss of score that counts as none, in the metric's own unit: of 0 to 1, or nats.

    Raises:
        VxlabError: the pairs are of candidates that the summary lacks, or lack one of its; or a margin that is none.
    """
    margin = checked_margin(margin)
    rows = by_candidate(summary)
    if missing := sorted({*pairs["a"], *pairs["b"]} ^ set(rows)) if len(rows) > 1 else []:
        raise VxlabError(f"pairs and summary are of different candidates: {', '.join(missing)} in one of them only")
    finished = {name: row for name, row in rows.items() if row["n"]}
    lines = _ranking(finished, pairs, metric, held_out, margin)
    counts = _seed_counts(finished)
    lines += [_edges(rows), _lost(rows), _few_seeds(counts, _luck(finished))]
    if not tuned:
        lines.append("One learning rate each: a candidate may trail because its rate suits it less.")
    lines.append(held_out.doubt)
    return "\n".join(f"- {line}" for line in lines if line)


def checked_margin(margin: Any) -> float:
    """Return a margin of equivalence, or refuse what is none."""
    settled: float = settle("margin", margin, float)
    if not 0 < settled < 1:
        raise VxlabError(
            f"margin={settled:g}: a loss of score lies between 0 and 1, such as 0.02 for 2 points, or for 0.02 nats"
        )
    return settled


def _ranking(
    finished: Mapping[str, Any], pairs: pd.DataFrame, metric: str, held_out: HeldOut, margin: float
) -> list[str]:
    if not finished:
        return ["No candidate finished a run: there is nothing to say."]
    above = {name: row for name, row in finished.items() if row["above"]}
    lines = [_chance(finished, above, metric, held_out)]
    if above:
        top = max(above, key=lambda name: float(above[name]["mean"]))
        rivals = rivals_of(top, pairs)
        lines.append(_highest(top, finished, rivals, pairs, metric, margin))
        lines += [floor(finished, pairs, metric), cheapest(top, above, rivals, finished, metric, margin)]
        lines += _by_kind(pairs)
    return lines


def _chance(finished: Mapping[str, Any], above: Mapping[str, Any], metric: str, held_out: HeldOut) -> str:
    """Say which candidates are not shown to beat the trivial answer."""
    score = f"{in_words(metric)} {score_in_words(held_out.trivial, metric)}"
    trivial = f"the trivial answer ({held_out.trivial_name}: {score})"
    on = f"on {held_out.in_words()}{_seeds(finished)}"
    count = len(finished)
    after = f", after Holm over {count} tests" if count > 1 else ""
    if not above:
        who = f"None of {count} candidates" if count > 1 else next(iter(finished))
        shown = "is shown" if count > 1 else "is not shown"
        named = "none is ranked, and none named as the cheapest" if count > 1 else "there is nothing to rank"
        return f"{who} {shown} to beat {trivial} {on}{after}: {named}."
    if len(above) == count:
        who = f"All {count} candidates are" if count > 1 else f"{next(iter(finished))} is"
        return f"{who} shown to beat {trivial} {on}{after}."
    below = [f"{name} ({score_in_words(row['mean'], metric)})" for name, row in finished.items() if name not in above]
    others = f"The other {len(above)} are shown to" if len(above) > 1 else f"{next(iter(above))} is shown to"
    return f"**Not shown to beat {trivial}** {on}: {', '.join(below)}. {others}{after}."


def _highest(
    top: str, finished: Mapping[str, Any], rivals: Sequence[Rival], pairs: pd.DataFrame, metric: str, margin: float
) -> str:
    """Say which candidate has the highest mean, and what can be told from it."""
    score = mean_in_words(finished[top], metric)
    if not rivals:
        return f"**{top}**: {score}."
    if all(rival.seen and rival.difference < 0 and rival.covers_seeds for rival in rivals):
        others = f"each of the {len(rivals)} others" if len(rivals) > 1 else f"{rivals[0].name}"
        return f"**{top}** is best: {score}. It is told apart from {others}, {after_holm(pairs)}."
    told = [f"**{top}** scores highest: {score}.", *_others(rivals, pairs, metric, margin)]
    if not all(rival.seen for rival in rivals):
        told.append(
            f"As the highest of {len(finished)} that cannot all be told apart, its score is likely to flatter it."
        )
    return " ".join(told)


def _others(rivals: Sequence[Rival], pairs: pd.DataFrame, metric: str, margin: float) -> list[str]:
    behind = [rival.name for rival in rivals if rival.seen and rival.difference < 0]
    ahead = [rival.name for rival in rivals if rival.difference > 0]
    same = equivalent(rivals, margin)
    alike = [rival for rival in rivals if not rival.seen]
    whom = f"{len(behind)} of {len(rivals)} others ({', '.join(behind)})" if len(rivals) > 1 else rivals[0].name
    told = [f"It is better than {whom}, {after_holm(pairs)}."] if behind else []
    if ahead:
        are = "is" if len(ahead) == 1 else "are"
        told.append(f"{', '.join(ahead)} scored higher still, and {are} not shown to beat the trivial answer.")
    if some := [rival for rival in alike if rival.name in same]:
        within = difference_in_words(margin, metric)
        told.append(f"Equivalent within {within}{over_rivals(rivals)}: {_listed(some, metric)}.")
    if some := [rival for rival in alike if rival.name not in same]:
        own = " (each interval is its pair's own)" if len(rivals) > 1 else ""
        told.append(f"Not told apart from it{own}: {_listed(some, metric)}. That is not proof of equality.")
    return told


def _listed(rivals: Sequence[Rival], metric: str) -> str:
    return "; ".join(f"{rival.name} ({rival.in_words(metric)})" for rival in rivals)


def _by_kind(pairs: pd.DataFrame) -> list[str]:
    lines = []
    for kind, words in (("equal rank", "of equal rank"), ("matched parameters", "matched in parameters")):
        some = pairs[(pairs["kind"] == kind) & pairs["difference"].notna()]
        if len(some):
            lines.append(f"Of {number_of(len(some), 'pair')} {words}, {int(some['seen'].sum())} can be told apart.")
    return lines


def _edges(rows: Mapping[str, Any]) -> str:
    on_edge = [f"{name} ({row['edge']})" for name, row in rows.items() if row["edge"] in ("low", "high")]
    on_edge += [f"{name} (head's, {row['head_edge']})" for name, row in rows.items() if row.get("head_edge")]
    if not on_edge:
        return ""
    return f"Learning rate on the edge of its range: {', '.join(on_edge)}. A wider range may score better."


def _lost(rows: Mapping[str, Any]) -> str:
    lost = {name: (int(row["diverged"]), int(row["diverged"] + row["n"])) for name, row in rows.items()}
    named = ", ".join(f"{name} ({some} of {runs})" for name, (some, runs) in lost.items() if some)
    never = ", ".join(name for name, (_, runs) in lost.items() if not runs)
    told = [f"Runs that diverged or failed, and are in no score: {named}."] if named else []
    told += [f"Without any result, for all its tuning runs diverged or failed: {never}."] if never else []
    return " ".join(told)


def _few_seeds(seeds: list[int], noun: str) -> str:
    if not seeds or min(seeds) > _FEW[noun]:
        return ""
    if max(seeds) == 1:
        return "One seed: the luck of training is in none of these intervals. Add seeds before you rank anything."
    few = number_of(min(seeds), noun)
    return f"A small sweep ({few} at the fewest): how much {noun}s matter is itself hardly known. Five decide more."


def _seeds(finished: Mapping[str, Any]) -> str:
    counts, noun = _seed_counts(finished), _luck(finished)
    if not counts:
        return ""
    low, high = min(counts), max(counts)
    told = f", {number_of(low, noun)} each" if low == high else f", {low} to {high} {noun}s"
    return told if noun == "seed" else f"{told} (a draw's run has its own seed)"


def _luck(finished: Mapping[str, Any]) -> str:
    """Return of what luck intervals are: a draw of shots has its own seed, and is the greater of the two."""
    return "draw" if any(row.get("draws", 0) > 1 for row in finished.values()) else "seed"


def _seed_counts(finished: Mapping[str, Any]) -> list[int]:
    """Return how many seeds, or draws, each candidate has, of those that vary with them."""
    fixed = fixed_candidates(finished)
    return [
        len(row["scores"]) if row.get("draws", 0) > 1 else int(row["n"])
        for name, row in finished.items()
        if name not in fixed
    ]
