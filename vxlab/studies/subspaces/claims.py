"""What was published on singular subspaces, judged by what a truncated model and LoRA-XS's bases showed."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pandas as pd

from vxlab.experiments.candidates import of_pair, unit_of_difference, write_score
from vxlab.experiments.scoring import Evidence, from_error, no_evidence, over_units
from vxlab.studies import ABSENT, Claim, Finding, Part, Side, doubts_of, judge
from vxlab.studies.subspaces.bases import IN_WORDS
from vxlab.studies.subspaces.kept_bands import KeptBands
from vxlab.studies.subspaces.truncation import EVERY, REMOVED
from vxlab.words import write_number

ATTENTION = ("query", "key", "value", "fused-qkv", "attention-output")
_SOURCE = "LoRA-XS, arXiv 2405.17604, and its reviews"
_CUT = f"{_SOURCE}: RoBERTa-large on MRPC, SST-2 and MNLI; the procedure is recalled, not verified"
_KEEPS_MOST, _UP, _TOLERATES, _DOWN = (
    Claim(said, "no figure", _CUT)
    for said in (
        "the top singular vectors keep most of what fine-tuning taught, the first MLP layer (up) apart",
        "the first MLP layer (up, intermediate.dense) is the exception",
        "self-attention tolerates strong truncation",
        "the second MLP layer (down, output.dense) needs more of the spectrum than self-attention",
    )
)
_RANDOM_BASIS = Claim(
    "on SST-2 LoRA-XS does slightly better from the SVD of a random matrix than from that of W",
    "no figure",
    f"{_SOURCE}: RoBERTa-large, an unsettled claim",
)
_STANDS_IN = Claim(
    "the top singular vectors of W stand in for those of the gradient",
    "no figure",
    "LoRA-XS, arXiv 2405.17604, beside its Theorem 3.1",
)


def subspace_claims(
    answers: pd.DataFrame,
    pairs: pd.DataFrame,
    summary: pd.DataFrame,
    captured: pd.DataFrame,
    *,
    metric: str,
    trivial: float,
) -> list[Finding]:
    """Judge what was published on singular subspaces, all claims together and along with the bases' other pairs.

    Args:
        answers: as :func:`truncation_claims` takes them.
        pairs: as :func:`basis_claim` takes them.
        summary: as :func:`basis_claim` takes it.
        captured: as :func:`capture_claim` takes it.
        metric: the score.
        trivial: what the simplest answer scores.
    """
    claims = truncation_claims(answers, metric=metric, trivial=trivial)
    claims += [basis_claim(pairs, summary, metric), capture_claim(captured)]
    claimed = {IN_WORDS["random-svd"], IN_WORDS["top"]}
    others = [{a, b} != claimed for a, b in zip(pairs["a"], pairs["b"], strict=True)]
    return judge(claims, beside=pairs.loc[others, "p"])


def truncation_claims(answers: pd.DataFrame, *, metric: str, trivial: float) -> list[Claim]:
    """Return what was published on truncated weights, with what one fine-tuned model shows of it.

    The *gain* is the score above the simplest answer's; a band keeps the share of it that is left when a role's
    weights are cut to that band, the mean over the sizes that were asked for, with an interval over the test items'
    units, paired. A role whose weights can all be removed keeps much whatever the band, so the top band must do better
    than that.

    Args:
        answers: of the weights, from :func:`vxlab.studies.subspaces.truncation.truncated_answers`.
        metric: the score.
        trivial: what the simplest answer scores.

    Returns:
        A claim each: the top band keeps most of the gain; it does so less well in ``up``; attention tolerates
        truncation; ``down`` needs more of the spectrum than attention.
    """
    asked = _Asked(answers, metric, trivial)
    attention = [role for role in asked.roles if role in ATTENTION]
    others = [role for role in asked.roles if role != "up"]
    kept, more, less = asked.share(others), asked.contrast(others, others, REMOVED), asked.contrast(others, ["up"])
    held, without = asked.share(attention), asked.share(attention, REMOVED)
    needed = asked.contrast(attention, ["down"])
    left, top = "of the gain is left with the top", asked.size
    needless = ["most of it needs none of these weights"] if without.value >= 0.5 else []
    return [
        _lay(
            _KEEPS_MOST, kept,
            f"{_share(kept)} {left} {top} of a role but up, mean; {_points(more)} more than with all of it removed",
            Part(kept, least=0.5), Part(more, least=0),
        ),
        _lay(_UP, less, f"with the top {top} the other roles keep {_points(less)} more of the gain"),
        _lay(
            _TOLERATES, held,
            f"{_share(held)} {left} {top} of an attention role, {_share(without)} with all of it removed",
            Part(held, least=0.5), doubts=needless,
        ),
        _lay(_DOWN, needed, f"with the top {top} attention keeps {_points(needed)} more of the gain"),
    ]  # fmt: skip


def _lay(claim: Claim, found: Evidence, here: str, *parts: Part, doubts: Sequence[str] = ()) -> Claim:
    """Lay beside a claim what was found, if anything was; without parts it is that this is above 0."""
    lacking = "nothing, for lack of such roles or of a gain over the trivial answer"
    parts = parts or (Part(found, least=0),)
    return claim.beside(here if math.isfinite(found.low) else lacking, *parts, doubts=doubts)


class _Asked:
    """What a truncated model was asked: shares of the gain that the top bands keep."""

    def __init__(self, answers: pd.DataFrame, metric: str, trivial: float) -> None:
        self.kept = cache(lambda: KeptBands(answers, metric, trivial))  # answers may be none
        self.roles = [role for role in answers["role"].unique() if role and role != EVERY]
        self.sizes = sorted(answers.loc[answers["band"] == "top", "fraction"].unique())
        self.size = ", ".join(f"{100 * each:.3g} %" for each in self.sizes)

    def share(self, roles: Sequence[str], band: str = "top") -> Evidence:
        sizes = [0.0] if band == REMOVED else self.sizes
        return self.kept().share(roles, band, sizes) if roles else no_evidence()

    def contrast(self, first: Sequence[str], second: Sequence[str], against: str = "top") -> Evidence:
        if not (first and second and {*first, *second} <= set(self.roles)):
            return no_evidence()
        return self.kept().contrast(first, second, "top", self.sizes, against=against)


def basis_claim(pairs: pd.DataFrame, summary: pd.DataFrame, metric: str) -> Claim:
    """Return whether LoRA-XS does better from a random matrix's singular vectors than from those of W.

    A difference that another rate or the runs that were lost could turn round is in doubt: the best rate of the one
    that scored lower lies on the edge of its range, or runs of either did not finish.

    Args:
        pairs: of a comparison of the bases, named by :func:`vxlab.studies.subspaces.bases.by_basis`.
        summary: of the same comparison.
        metric: the score.
    """
    names = IN_WORDS["random-svd"], IN_WORDS["top"]
    found = of_pair(pairs, *names)
    evidence = from_error(found["difference"], found["error"], found["freedom"])
    here = ABSENT
    if math.isfinite(evidence.low):
        value, low, high = (write_score(each, metric, "+") for each in evidence[:3])
        here = f"{' '.join(filter(None, [value, unit_of_difference(metric)]))} (95 % {low} to {high})"
    sides = {row["candidate"]: _side(row) for row in summary.to_dict("records")}
    doubts = doubts_of(evidence.value, *(sides[name] for name in names)) if {*names} <= {*sides} else []
    return _RANDOM_BASIS.beside(here, Part(evidence, least=0), doubts=doubts)


def capture_claim(captured: pd.DataFrame) -> Claim:
    """Return LoRA-XS's premise, that W's top singular vectors stand in for the gradient's, with the first gradients.

    Were it so, the top basis would hold more of a gradient than the bottom one does, and more than chance.

    Args:
        captured: from :func:`vxlab.studies.subspaces.capture.band_capture`.
    """
    top, bottom = IN_WORDS["top"], IN_WORDS["bottom"]
    tables = captured.pivot_table(index=["layer", "rank"], columns="family", values=["share", "chance"])
    if not {("share", top), ("share", bottom)} <= set(tables.columns):
        return _STANDS_IN
    over_bottom = _logarithm(tables["share", top], tables["share", bottom])
    over_chance = _logarithm(tables["share", top], tables["chance", top])
    layers = captured["layer"].nunique()
    here = (
        f"before training the top basis holds {_times(over_bottom)} what the bottom one does of the gradient's energy, "
        f"and {_times(over_chance)} what chance would, geometric means over ranks and layers (one start; intervals "
        f"take its {layers} layers as independent)"
    )
    return _STANDS_IN.beside(here, Part(over_bottom, least=0), Part(over_chance, least=0))


def _side(row: Mapping[Any, Any]) -> Side:
    name = f"“{row['candidate']}”"
    return Side(row, f"the runs of {name}", f"the rate of {name}, which scored lower,")


def _logarithm(first: "pd.Series[float]", second: "pd.Series[float]") -> Evidence:
    """Return the evidence of the mean of log(first / second), over ranks and then layers, the units."""
    both = (first > 0) & (second > 0)
    by_layer = (first[both] / second[both]).map(math.log).groupby("layer").mean()
    return over_units(by_layer.tolist())


def _times(logarithm: Evidence) -> str:
    return logarithm.in_words(lambda value: f"{math.exp(value):.2g}", " times")


def _share(found: Evidence) -> str:
    return found.in_words(".0%")


def _points(found: Evidence) -> str:
    return found.in_words(lambda value: write_number(100 * value, ".0f"), " points")
