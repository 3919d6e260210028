"""A small trial of an advice on the task that it is for: ranks by energy against one rank, whatever it advises."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from vxlab.experiments.candidates import MARGIN, difference_in_words, interval_in_words, of_pair
from vxlab.experiments.scoring import in_words
from vxlab.experiments.sweeps import Candidate, Comparison, FairSweep
from vxlab.studies.advisor.advice import Advice
from vxlab.studies.advisor.shrunk import Shrunk
from vxlab.studies.advisor.stability import ALLOCATION, UNIFORM
from vxlab.words import number_of, percent

KEPT_COLUMNS = [
    "candidate", "seed", "share", "rank", "kept", "parameters", "score", "difference", "low", "high", "enough",
]  # fmt: skip


def own_trial(advice: Advice, fair: FairSweep) -> FairSweep:
    """Return the fair sweep of one rank on all targets and of the ranks by energy, tuned alike.

    The ranks by energy run also where the advice abstains, so that its abstaining is put to the test; where they are
    the uniform ones there is nothing to compare, and one candidate is all.

    Args:
        advice: for the model and task of the sweep.
        fair: whose settings, budget and middle of the rates are taken.
    """
    (own,) = fair.candidates
    assert isinstance(own, Candidate)
    rates = {"learning_rate": own.centre}
    rank = int(advice.layers["uniform"].iloc[0])
    family = replace(advice.method(), rank=rank)
    candidates = [Candidate(family, targets=advice.spec.targets, **rates)]
    kept = advice.layers[advice.layers["allocated"] > 0]
    ranks = dict(zip(kept["layer"], kept["allocated"].astype(int), strict=True))
    if len(kept) < len(advice.layers) or set(ranks.values()) != {rank}:
        candidates.append(Candidate(replace(family, rank=ranks), targets=tuple(ranks), **rates))
    return replace(fair, candidates=candidates)


def rank_kept_table(shrunk: Mapping[tuple[str, int], Shrunk], margin: float = MARGIN) -> pd.DataFrame:
    """Return what is left of each run's score at each share of its update: :data:`KEPT_COLUMNS`.

    ``rank`` is the mean of the adapted layers' ranks; ``kept`` the singular values (or VeRA's terms) of all layers;
    ``enough`` says whether the 95 % interval of the difference to the whole lies above minus the margin.

    Args:
        shrunk: from :func:`vxlab.shrink`, by candidate and seed.
        margin: the largest loss of score that does not matter.
    """
    tables = [
        each.scores.assign(
            candidate=candidate, seed=seed, rank=each.scores["kept"] / each.ranks["layer"].nunique(),
            enough=each.scores["low"] > -margin,
        )
        for (candidate, seed), each in shrunk.items()
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)[KEPT_COLUMNS] if tables else pd.DataFrame(columns=KEPT_COLUMNS)


def rank_kept_sentences(kept: pd.DataFrame, metric: str, margin: float = MARGIN) -> str:
    """Say, a line a candidate, which share of its trained updates would have been enough, in Markdown.

    Shares are tried from the largest down, and the first at which one run is not surely within the margin ends it.

    Args:
        kept: from :func:`rank_kept_table`, at the same margin.
        metric: whose scores they are.
        margin: the largest loss of score that does not matter.
    """
    if kept.empty:
        return "No trained update was there to be cut."
    return "\n".join(
        _of_candidate(str(name), own, metric, margin) for name, own in kept.groupby("candidate", sort=False)
    )


def own_trial_sentence(advice: Advice, result: Comparison | None) -> str:
    """Say what the advice was, what its trial on this task showed, and whether the two agree.

    Args:
        advice: that was tried.
        result: of :func:`own_trial`; None where it was not run.
    """
    told = {ALLOCATION: "ranks by layer", UNIFORM: "one rank for all"}.get(
        advice.verdict, "nothing but one rank, unsure"
    )
    if result is None or len(result.fair.names) < 2:
        return f"The advice was {told}; ranks by energy are the uniform ones here, so there is nothing to compare."
    uniform, by_energy = result.fair.names
    pair = of_pair(result.pairs, by_energy, uniform)
    if pair["seen"] is None or math.isnan(pair["difference"]):
        return f"The advice was {told}; runs of {uniform} and {by_energy} that finished are too few to compare."
    less = f"{difference_in_words(pair['difference'], result.metric)} of {in_words(result.metric)}"
    span = interval_in_words(pair["low"], pair["high"], result.metric)
    found = f"ranks by energy less one rank at equal parameters: {less} ({span}, {_seeds(result)})"
    return f"The advice was {told}; {found}. {_agree(advice.verdict, pair)}"


def advice_conclusion(
    advices: Mapping[str, Advice], tried: str, result: Comparison | None, kept: pd.DataFrame, trial: str
) -> str:
    """Return what the page showed, and what it does not say, in Markdown.

    Args:
        advices: by the method's label.
        tried: the label of the advice whose trial ran.
        result: of :func:`own_trial`.
        kept: from :func:`rank_kept_table`.
        trial: the verdict of the registered trial.
    """
    told = [f"**{name}**: {each.sentence()}" for name, each in advices.items()]
    told.append(f"**On this task, {tried}**: {own_trial_sentence(advices[tried], result)}")
    if result is not None and len(kept):
        told += [line.removeprefix("- ") for line in rank_kept_sentences(kept, result.metric).splitlines()]
    told += [line.removeprefix("- ") for line in trial.splitlines() if line.strip()]
    told.append(
        "What this does not say: the energy is of the first gradients, before anything is learnt, and says what a "
        "first step could do. The trial on this task is of one model, few seeds and short runs; a difference that is "
        "not shown may be there all the same."
    )
    return "\n".join(f"- {each}" for each in told)


def _agree(verdict: str, pair: Mapping[str, Any]) -> str:
    if not pair["seen"]:
        abstained = verdict != ALLOCATION
        doubt = "so abstaining is not shown to have cost anything" if abstained else "so the advice is not shown to pay"
        return f"**Not told apart: one rank is not shown to be worse here**, {doubt}."
    if pair["difference"] > 0:
        right = "as advised" if verdict == ALLOCATION else "though the advice did not say so"
        return f"**Ranks by energy are better here**, {right}."
    wrong = "against the advice" if verdict == ALLOCATION else "and the advice was right to abstain"
    return f"**One rank for all is better here**, {wrong}."


def _seeds(result: Comparison) -> str:
    counts = sorted({int(each) for each in result.summary["n"]})
    return " and ".join(number_of(each, "seed") for each in counts)


def _of_candidate(name: str, own: pd.DataFrame, metric: str, margin: float) -> str:
    whole = own[own["share"] == 1]
    within = difference_in_words(margin, metric).lstrip("+")
    enough = None
    for share in sorted(own.loc[own["share"] < 1, "share"].unique(), reverse=True):
        rows = own[own["share"] == share]
        if not rows["enough"].all():
            break
        enough = float(share), rows
    runs = number_of(len(whole), "run")
    held = f"mean rank {whole['rank'].mean():.3g}"
    if enough is None:
        return (
            f"- **{name}**, after training: of {held}, no share that was tried is surely within {within} in all {runs}."
        )
    share, rows = enough
    return (
        f"- **{name}**, after training: of {held}, mean rank {rows['rank'].mean():.3g} would have been enough, "
        f"{percent(share)} of the updates' energy, in all {runs} surely within {within}."
    )
