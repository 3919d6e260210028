"""Say in plain words what a sweep showed: who is best, who cannot be told from it, and who is cheapest."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from vxlab.errors import VxlabError
from vxlab.experiments.metrics import in_words
from vxlab.experiments.pairs import IN_POINTS, by_candidate, difference_in_words, interval_in_words

if TYPE_CHECKING:
    import pandas as pd

_FEW = 2
"""seeds, up to which a sweep is called small"""


def verdict(pairs: "pd.DataFrame", summary: "pd.DataFrame", *, metric: str, items: int, tuned: bool = True) -> str:
    """Return what a sweep showed, as a Markdown list.

    It names the candidate of the best median and those that cannot be told from it, the cheapest of these, how many
    pairs of equal rank and of matched parameters were told apart, the learning rates on the edge of their range and
    the runs that diverged; and it warns of few seeds.

    Args:
        pairs: from :func:`vxlab.experiments.pairs.pairs_table`, of this summary.
        summary: a row a candidate: ``candidate``, ``median``, ``q1``, ``q3``, ``n``, ``diverged``, ``backbone``,
            ``edge``.
        metric: name of the score.
        items: test items.
        tuned: whether each candidate's learning rate was chosen among several.

    Raises:
        VxlabError: the pairs are of candidates that the summary lacks, or lack one of its.
    """
    rows = by_candidate(summary)
    if missing := sorted({*pairs["a"], *pairs["b"]} ^ set(rows)) if len(rows) > 1 else []:
        raise VxlabError(f"pairs and summary are of different candidates: {', '.join(missing)} in one of them only")
    finished = [name for name, row in rows.items() if math.isfinite(row["median"])]
    lines = _ranking(finished, rows, pairs, metric, items) or ["No candidate finished a run: there is nothing to say."]
    lines += [_edges(rows), _lost(rows), _few_seeds([int(rows[name]["n"]) for name in finished])]
    if not tuned:
        lines.append("One learning rate each: a candidate may trail because its rate suits it less.")
    return "\n".join(f"- {line}" for line in lines if line)


def _ranking(finished: list[str], rows: Mapping[str, Any], pairs: "pd.DataFrame", metric: str, items: int) -> list[str]:
    if not finished:
        return []
    best = max(finished, key=lambda name: float(rows[name]["median"]))
    lines = [_best(best, rows, metric, items)]
    if len(finished) > 1:
        rivals = _against(best, pairs)
        lines += [_rivals(rivals, pairs, metric), _cheapest(best, rivals, rows, metric), *_by_kind(pairs)]
    return lines


class _Rival(NamedTuple):
    name: str
    difference: float
    """the rival's score less the best's"""
    low: float
    high: float
    seen: bool


def _against(best: str, pairs: "pd.DataFrame") -> list[_Rival]:
    """Return every other candidate against the best, the highest score first."""
    rivals = []
    for pair in pairs.to_dict("records"):
        if best in (pair["a"], pair["b"]) and math.isfinite(pair["difference"]):
            name, sign = (pair["a"], 1) if pair["b"] == best else (pair["b"], -1)
            low, high = sorted((sign * pair["low"], sign * pair["high"]))
            rivals.append(_Rival(name, sign * pair["difference"], low, high, pair["seen"]))
    return sorted(rivals, key=lambda rival: -rival.difference)


def _best(name: str, rows: Mapping[str, Any], metric: str, items: int) -> str:
    row = rows[name]
    seeds, word = _seeds([int(row["n"]) for row in rows.values() if row["n"]]), in_words(metric)
    word = f"median {word}" if row["n"] > 1 else word
    spread = f" (quartiles {_score(row['q1'], metric)} to {_score(row['q3'], metric)})" if row["n"] > 1 else ""
    return f"**{name}** scores best: {word} {_score(row['median'], metric)}{spread}, {seeds}, {items:,} test items."


def _rivals(rivals: list[_Rival], pairs: "pd.DataFrame", metric: str) -> str:
    alike = [rival for rival in rivals if not rival.seen]
    count = int(pairs["p_holm"].notna().sum())
    after = f"after Holm over {count} comparisons" if count > 1 else "at p ≤ 0.05"
    # A median may lead where the mean trails, and it is means that are compared.
    ahead = [rival.name for rival in rivals if rival.seen and rival.difference > 0]
    behind = len(rivals) - len(alike) - len(ahead)
    told = [f"It is better than {behind} of {len(rivals)} others, {after}."] if behind else []
    if ahead:
        told.append(f"By the mean, {', '.join(ahead)} is better, {after}.")
    if alike:
        named = "; ".join(
            f"{r.name} ({difference_in_words(r.difference, metric)}, {interval_in_words(r.low, r.high, metric)})"
            for r in alike
        )
        told.append(f"No difference seen to {named}. That is not proof of equality.")
    return " ".join(told)


def _cheapest(best: str, rivals: list[_Rival], rows: Mapping[str, Any], metric: str) -> str:
    alike = {rival.name: rival for rival in rivals if not rival.seen}
    name = min([best, *alike], key=lambda name: rows[name]["backbone"])
    size, full = rows[name]["backbone"], rows[best]["backbone"]
    if not size < full:
        return f"Nothing cheaper does as well: {best} trains {int(full):,} backbone parameters." if rivals else ""
    share = f"{100 * size / full:.3g} % of {best}'s {int(full):,}"
    loss = max(-alike[name].low, 0.0)
    return (
        f"The cheapest that cannot be told from it is **{name}**: {int(size):,} trained backbone parameters, {share}. "
        f"The interval lets it be up to {difference_in_words(loss, metric)} worse."
    )


def _by_kind(pairs: "pd.DataFrame") -> list[str]:
    lines = []
    for kind, words in (("equal rank", "of equal rank"), ("matched parameters", "matched in parameters")):
        some = pairs[(pairs["kind"] == kind) & pairs["difference"].notna()]
        if len(some):
            lines.append(f"Of {_counted(len(some), 'pair')} {words}, {int(some['seen'].sum())} can be told apart.")
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


def _few_seeds(seeds: list[int]) -> str:
    if not seeds or min(seeds) > _FEW:
        return ""
    if max(seeds) == 1:
        return "One seed: the luck of training is in none of these intervals. Add seeds before you rank anything."
    few = _counted(min(seeds), "seed")
    return f"A small sweep ({few} at the fewest): how much seeds matter is itself hardly known. Five decide more."


def _score(value: float, metric: str) -> str:
    return f"{100 * value:.1f} %" if metric in IN_POINTS else f"{value:.3f}".replace("-", "−")


def _seeds(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{_counted(low, 'seed')} each" if low == high else f"{low} to {high} seeds"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
