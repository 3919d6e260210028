"""What the tasks of an atlas have in common, in sentences computed from the tables."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from vxlab.experiments.candidates import p_in_words
from vxlab.experiments.scoring import in_words
from vxlab.studies import CONSISTENT, CONTRADICTS, NOISY, Finding
from vxlab.studies.atlas.contrasts import MEAN_OF_PAIRS
from vxlab.studies.atlas.gather import AcrossTasks
from vxlab.studies.atlas.mean_ranks import MeanRanks
from vxlab.studies.atlas.rates import OVER_FULL, PER_DOUBLING
from vxlab.studies.atlas.rules import BY_CHANCE, OTHER_TASKS
from vxlab.words import list_in_words, number_of, write_number

_NAMED = 6
"""candidates that a sentence names; of more it names so many and counts the others"""
_WIDEST = 1000
"""the high end of a factor's interval less than so many times the low one, or it is not shown"""


def coverage_sentence(across: AcrossTasks) -> str:
    """Say how much there is: tasks, candidates, runs, hours, and what lacks."""
    tasks, names = across.tasks, across.candidates
    held = across.scores.groupby("candidate")["task"].nunique()
    whole = int((held == len(tasks)).sum())
    told = (
        f"**{across.name}**: {number_of(len(tasks), 'task')} ({', '.join(tasks['task'])}), "
        f"{number_of(len(names), 'candidate')}, of which {whole} on all of them; "
        f"{number_of(int(tasks['reports'].sum()), 'reported run')}, {int(tasks['lost'].sum())} of them lost; "
        f"{tasks['hours'].sum():,.1f} hours of training, tuning included."
    )
    metrics = [in_words(metric) for metric in dict.fromkeys(tasks["metric"])]
    if len(metrics) > 1:
        told += f" Points are hundredths of {list_in_words(metrics)}, each task's first metric."
    few = {name: len(tasks) - int(held[name]) for name in names}
    lacking = [f"{name} ({number_of(count, 'task')})" for name, count in few.items() if count]
    return f"{told} Lacking somewhere: {_few(lacking)}." if lacking else told


def apart_sentence(across: AcrossTasks, pooled: pd.DataFrame, ranks: MeanRanks) -> str:
    """Say which share of pairs is told apart within tasks, and which across them.

    Args:
        across: one model's tasks.
        pooled: every pair, from :func:`pooled_differences`.
        ranks: of them.
    """
    within, of = int(across.tasks["apart"].sum()), int(across.tasks["pairs"].sum())
    tested = pooled[pooled["p"].notna()]
    told = [f"Within single tasks {_share(within, of)} pairs are told apart, after Holm over each task's pairs"]
    if len(tested):
        alone = int((tested["p"] <= 0.05).sum())
        told.append(
            f"across tasks {_share(int(tested['seen'].sum()), len(tested))} are, after Holm over {len(tested)}, and "
            f"{alone} by their own p-value alone, of which about {0.05 * len(tested):.0f} would be were all equal"
        )
    if not ranks.undefined:
        means = ranks.table["mean_rank"].tolist()
        count = sum(abs(a - b) >= ranks.critical for i, a in enumerate(means) for b in means[:i])
        told.append(f"by mean ranks {_share(count, len(means) * (len(means) - 1) // 2)}")
    return f"{'; '.join(told)}."


def left_out_sentence(pooled: pd.DataFrame, without: pd.DataFrame) -> str:
    """Say how much of what is told apart across tasks hangs on one of them.

    Args:
        pooled: every pair, from :func:`pooled_differences`.
        without: from :func:`without_each_task`.
    """
    told = int(pooled["seen"].sum())
    if without.empty:
        return "**One task left out**: that needs three tasks, as two must be left to pool."
    if not (told or without["apart"].any()):
        return "**One task left out**: no pair is told apart, with all tasks or without one."
    always = len(set.intersection(*without["stay"]))
    counts = without["apart"].to_numpy()
    low, high = (f"{counts[i]} (without {without['task'].iloc[i]})" for i in (counts.argmin(), counts.argmax()))
    return (
        f"**One task left out**: of {number_of(told, 'pair')} told apart across all tasks {always} stay so whichever "
        f"is left out; over the others from {low} to {high} are told apart."
    )


def ranks_sentence(ranks: MeanRanks) -> str:
    """Say which candidates come first over tasks, and which cannot be told from the first."""
    if ranks.undefined:
        return f"**Mean ranks**: {ranks.undefined}"
    first, last = ranks.table.iloc[0], ranks.table.iloc[-1]
    alike = ranks.table.loc[ranks.table["alike"], "candidate"].tolist()[1:]
    told = (
        f"**Mean ranks** over {number_of(len(ranks.tasks), 'task')} of {number_of(len(ranks.table), 'candidate')}: "
        f"from {first['candidate']} ({first['mean_rank']:.1f}) to {last['candidate']} ({last['mean_rank']:.1f}); "
    )
    if ranks.p > 0.05:
        return f"{told}none is shown to be better than another (Friedman's test, p = {p_in_words(ranks.p)})."
    below = len(ranks.table) - 1 - len(alike)
    return (
        f"{told}some are better than others (Friedman's test, p {_p(ranks.p)}). Two differ where their mean ranks lie "
        f"{ranks.critical:.1f} apart: {below} of the others are told from the first, and {len(alike)} are not."
    )


def reference_sentence(pooled: pd.DataFrame, reference: str, unit: str) -> str:
    """Say which candidates are told from the reference across tasks.

    Args:
        pooled: from :func:`pooled_differences` with this reference.
        reference: its candidate.
        unit: of the differences.
    """
    tested = pooled[pooled["p"].notna()]
    if tested.empty:
        return f"**Beside {reference}** nothing can be said across tasks: no other candidate ran with it on two."
    parts = []
    for word, own in (("above", tested[tested["difference"] > 0]), ("below", tested[tested["difference"] < 0])):
        seen = [f"{row['a']} ({_span(row, unit)})" for row in own[own["seen"]].to_dict("records")]
        if seen:
            parts.append(f"{word} it {_few(seen)}")
    shown = "; ".join(parts) if parts else "none is told from it"
    rest = int((~tested["seen"]).sum())
    after = f"after Holm over {number_of(len(tested), 'comparison')}"
    left = f"; {rest} are not told from it, which is not proof of equality" if rest and parts else ""
    return f"**Beside {reference}**, expected on another task like these, {after}: {shown}{left}."


def rank_sentence(effects: pd.DataFrame, unit: str) -> str:
    """Say whether rank matters within each family.

    Args:
        effects: from :func:`rank_effects`.
        unit: of the differences.
    """
    if effects.empty:
        return "**Rank**: no family ran at two ranks on the same layers."
    told = []
    for row in effects.to_dict("records"):
        ends = f"{row['family']} on {row['targets']}, r={row['ranks'][-1]} less r={row['ranks'][0]}: {_ends(row, unit)}"
        told.append(f"{ends}, {'told apart' if row['seen'] else 'not told apart'}")
    return f"**Rank within a family** (after Holm over {len(effects)}): {'; '.join(told)}."


def layers_sentence(effects: pd.DataFrame, unit: str) -> str:
    """Say which layers are better at like numbers of parameters.

    Args:
        effects: from :func:`layer_effects`.
        unit: of the differences.
    """
    pairs = effects[effects["a"] != MEAN_OF_PAIRS]
    if pairs.empty:
        return "**Layers**: no family ran on two sets of layers at like numbers of parameters."
    seen = pairs[pairs["seen"]]
    told = (
        f"**More layers at a lower rank, or fewer at a higher one**, at like numbers of parameters: of "
        f"{number_of(len(pairs), 'pair')} {len(seen)} told apart"
    )
    means = [
        f"{row['family']} on average {_ends(row, unit, 'difference')}"
        for row in effects[effects["a"] == MEAN_OF_PAIRS].to_dict("records")
    ]
    named = [f"{row['a']} less {row['b']}: {_ends(row, unit, 'difference')}" for row in seen.to_dict("records")]
    return f"{told}{''.join(f'; {each}' for each in [*named, *means])}."


def rates_sentence(rates: pd.DataFrame) -> str:
    """Say what the best learning rate does with the rank, and beside full fine-tuning's.

    Args:
        rates: from :func:`best_rates`.
    """
    parts = []
    for what, words in ((PER_DOUBLING, "where the rank doubles"), (OVER_FULL, "of full fine-tuning's")):
        own = rates[(rates["what"] == what) & rates["low"].notna()]
        named = [f"{row['family']} on {row['targets']} {_factor(row)}" for row in own.to_dict("records")]
        if named:
            parts.append(f"{words}, {_few(named)}")
    if not parts:
        return "**The best learning rate**: no family was tuned at two ranks on two tasks."
    edges, of = int(rates["edges"].max()), int(rates["of"].max())
    doubt = f" Up to {edges} of {of} choices lie on the edge of what was tried." if edges else ""
    return f"**The best learning rate** {'; '.join(parts)}.{doubt}"


def rules_sentence(rules: pd.DataFrame, unit: str) -> str:
    """Say how well rules of thumb, and the other tasks, say what to take.

    Args:
        rules: from :func:`rules_of_thumb`.
        unit: of what is missed.
    """
    if rules.empty:
        return "**Rules of thumb** were not tried: they need two adapters on two tasks."
    best = rules.iloc[0]
    rows = rules.set_index("rule")
    beside = [name for name in (OTHER_TASKS, BY_CHANCE) if name != best["rule"]]
    told = "; ".join(f"{name} {_missed(rows.loc[name], unit)}" for name in beside)
    return (
        f"**What to take on another task**: {best['rule']} misses least of the adapter that validation puts first, "
        f"{_missed(best, unit)} over {number_of(int(best['n']), 'task')}; {told}. As the least of "
        f"{number_of(len(rules), 'rule')} its figure flatters it."
    )


def open_sentence(questions: pd.DataFrame, reference: str, margin: float, unit: str) -> str:
    """Say what stays open beside the reference, and what would close it.

    Args:
        questions: from :func:`open_questions`, of the pairs with the reference.
        reference: its candidate.
        margin: the difference that is to be seen, in the unit.
        unit: of the differences.
    """
    if questions.empty:
        return f"**Open beside {reference}**: nothing that ran on two tasks."
    tasks, seeds = questions["tasks"], questions["more_seeds"]
    told = [
        f"**Open beside {reference}**: {number_of(len(questions), 'candidate')}. A difference of {margin:g} {unit} in "
        f"each would be seen four times in five with {_range(tasks)} tasks (at this spread from task to task, itself "
        "hardly known)"
    ]
    enough = int((seeds <= questions["seeds"]).sum())
    more, never = int((seeds > questions["seeds"]).sum()), int(seeds.isna().sum())
    parts = [f"of {enough} it would be as it stands"] if enough else []
    parts += [f"of {more} with more seeds alone"] if more else []
    parts += [f"of {never} no number of seeds is enough"] if never else []
    return f"{'; '.join([*told, list_in_words(parts)])}."


def claims_sentence(findings: Sequence[Finding]) -> str:
    """Say how many of the published claims hold across these tasks."""
    counts = Counter(each.verdict for each in findings)
    judged = counts[CONSISTENT] + counts[CONTRADICTS] + counts[NOISY]
    if not judged:
        return "**Published claims**: none is in reach of these candidates."
    return (
        f"**Published claims**, {judged} of {len(findings)} in reach: what was measured is consistent with "
        f"{counts[CONSISTENT]}, contradicts {counts[CONTRADICTS]} and is too noisy to say of {counts[NOISY]}."
    )


def _span(row: Any, unit: str) -> str:
    low, high = (write_number(row[end], ".1f") for end in ("low", "high"))
    return f"{write_number(row['difference'], '+.1f')} {unit}, 95 % {low} to {high}"


def _ends(row: Any, unit: str, value: str = "ends") -> str:
    if math.isnan(row[value]):
        return "no task has both"
    if math.isnan(row["low"]):
        return f"{write_number(row[value], '+.1f')} {unit} on one task"
    low, high = (write_number(row[end], ".1f") for end in ("low", "high"))
    return f"{write_number(row[value], '+.1f')} {unit} (95 % {low} to {high})"


def _missed(row: Any, unit: str) -> str:
    low, high = (write_number(row[end], ".1f") for end in ("low", "high"))
    share = "" if math.isnan(row["share"]) else f", {write_number(100 * row['share'], '.0f')} % of the way to the worst"
    return f"{write_number(row['missed'], '.1f')} {unit} (95 % {low} to {high}{share})"


def _factor(row: Any) -> str:
    """Return a factor and its interval, or that the interval is too wide to be one."""
    if row["high"] > _WIDEST * row["low"]:
        return f"{factor_in_words(row['factor'])} times, known to no factor of {_WIDEST:,}"
    return f"{factor_in_words(row['factor'])} times ({factor_in_words(row['low'])} to {factor_in_words(row['high'])})"


def factor_in_words(factor: float) -> str:
    """Write how many times as large something is, to two digits, or to the next whole number.

    >>> factor_in_words(0.714), factor_in_words(1039.2)
    ('0.71', '1,039')
    """
    return f"{factor:,.0f}" if factor >= 10 else f"{factor:.2g}"


def _share(some: int, of: int) -> str:
    return f"{some} of {of}" + (f" ({100 * some / of:.0f} %)" if of else "")


def _range(numbers: "pd.Series[float]") -> str:
    known = numbers.dropna()
    if known.empty:
        return "more than 500"
    low, high = int(known.min()), int(known.max())
    ends = f"{low}" if low == high else f"{low} to {high}"
    return ends if len(known) == len(numbers) else f"{ends}, or more than 500,"


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return "; ".join([*names[:_NAMED], *([f"{rest} more"] if rest > 0 else [])])


def _p(p: float) -> str:
    return p_in_words(p) if p < 0.001 else f"= {p_in_words(p)}"
