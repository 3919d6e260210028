"""What was published on singular subspaces, judged by what a truncated model and LoRA-XS's bases showed."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vxlab.experiments.candidates.pairs import IN_POINTS, of_pair
from vxlab.experiments.scoring.evidence import Evidence, from_error, no_evidence, over_units
from vxlab.studies.claims import Case, Claim, Part, judge
from vxlab.studies.subspaces.bases import IN_WORDS
from vxlab.studies.subspaces.kept_bands import kept_share, kept_share_contrast
from vxlab.studies.subspaces.truncation import EVERY, REMOVED
from vxlab.words import with_minus, write_number

if TYPE_CHECKING:
    import pandas as pd

ATTENTION = ("query", "key", "value", "fused-qkv", "attention-output")
_SOURCE = "LoRA-XS, arXiv 2405.17604, and its reviews"
_CUT = f"{_SOURCE}: RoBERTa-large on MRPC, SST-2 and MNLI; the procedure is recalled, not verified"
_WORDS = "no figure"


def subspace_claims(
    answers: "pd.DataFrame",
    pairs: "pd.DataFrame",
    summary: "pd.DataFrame",
    captured: "pd.DataFrame",
    *,
    metric: str,
    trivial: float,
) -> list[Claim]:
    """Judge what was published on singular subspaces, all claims together and along with the bases' other pairs.

    Args:
        answers: as :func:`truncation_cases` takes them.
        pairs: as :func:`basis_cases` takes them.
        summary: as :func:`basis_cases` takes it.
        captured: as :func:`capture_cases` takes it.
        metric: the score.
        trivial: what the simplest answer scores.
    """
    cases = truncation_cases(answers, metric=metric, trivial=trivial)
    cases += basis_cases(pairs, summary, metric) + capture_cases(captured)
    claimed = {IN_WORDS["random-svd"], IN_WORDS["top"]}
    others = [{a, b} != claimed for a, b in zip(pairs["a"], pairs["b"], strict=True)]
    return judge(cases, beside=pairs.loc[others, "p"])


def truncation_cases(answers: "pd.DataFrame", *, metric: str, trivial: float) -> list[Case]:
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
    less, needed = asked.contrast(others, ["up"]), asked.contrast(attention, ["down"])
    return [
        _keeps_most(asked, others),
        Case(
            "the first MLP layer (up, intermediate.dense) is the exception", _WORDS,
            _measured(f"with the top {asked.size} the other roles keep {_points(less)} more of the gain", less),
            _CUT, (Part(less, least=0),),
        ),
        _tolerates(asked, attention),
        Case(
            "the second MLP layer (down, output.dense) needs more of the spectrum than self-attention", _WORDS,
            _measured(f"with the top {asked.size} attention keeps {_points(needed)} more of the gain", needed),
            _CUT, (Part(needed, least=0),),
        ),
    ]  # fmt: skip


class _Asked:
    """What a truncated model was asked: shares of the gain that the top bands keep."""

    def __init__(self, answers: "pd.DataFrame", metric: str, trivial: float) -> None:
        self.answers = answers
        self.roles = [role for role in answers["role"].unique() if role and role != EVERY]
        self.sizes = sorted(answers.loc[answers["band"] == "top", "fraction"].unique())
        self.size = ", ".join(f"{100 * each:.3g} %" for each in self.sizes)
        self.settings: dict[str, Any] = {"what": "weight", "metric": metric, "trivial": trivial}

    def share(self, roles: Sequence[str], band: str = "top") -> Evidence:
        sizes = [0.0] if band == REMOVED else self.sizes
        return kept_share(self.answers, roles, band, sizes, **self.settings) if roles else no_evidence()

    def contrast(self, first: Sequence[str], second: Sequence[str], against: str = "top") -> Evidence:
        if not (first and second and {*first, *second} <= set(self.roles)):
            return no_evidence()
        return kept_share_contrast(self.answers, first, second, "top", self.sizes, against=against, **self.settings)


def _keeps_most(asked: _Asked, roles: Sequence[str]) -> Case:
    kept, more = asked.share(roles), asked.contrast(roles, roles, REMOVED)
    told = (
        f"{_share(kept)} of the gain is left with the top {asked.size} of a role but up, mean; "
        f"{_points(more)} more than with all of it removed"
    )
    claim = "the top singular vectors keep most of what fine-tuning taught, the first MLP layer (up) apart"
    return Case(claim, _WORDS, _measured(told, kept), _CUT, (Part(kept, least=0.5), Part(more, least=0)))


def _tolerates(asked: _Asked, attention: Sequence[str]) -> Case:
    kept, without = asked.share(attention), asked.share(attention, REMOVED)
    told = (
        f"{_share(kept)} of the gain is left with the top {asked.size} of an attention role, "
        f"{_share(without)} with all of it removed"
    )
    claim = "self-attention tolerates strong truncation"
    doubts = ("most of it needs none of these weights",) if without.value >= 0.5 else ()
    return Case(claim, _WORDS, _measured(told, kept), _CUT, (Part(kept, least=0.5),), doubts)


def basis_cases(pairs: "pd.DataFrame", summary: "pd.DataFrame", metric: str) -> list[Case]:
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
    here = "not measured"
    if math.isfinite(evidence.low):
        scale, form, unit = (100, "+.1f", " points") if metric in IN_POINTS else (1, "+.3f", "")
        told = [write_number(scale * each, form) for each in evidence[:3]]
        here = f"{told[0]}{unit} (95 % {told[1]} to {told[2]})"
    claim = "on SST-2 LoRA-XS does slightly better from the SVD of a random matrix than from that of W"
    source = f"{_SOURCE}: RoBERTa-large, an unsettled claim"
    doubts = tuple(_doubts(summary, names, evidence.value))
    return [Case(claim, _WORDS, here, source, (Part(evidence, least=0),), doubts)]


def capture_cases(captured: "pd.DataFrame") -> list[Case]:
    """Return LoRA-XS's premise, that W's top singular vectors stand in for the gradient's, with the first gradients.

    Were it so, the top basis would hold more of a gradient than the bottom one does, and more than chance.

    Args:
        captured: from :func:`vxlab.studies.subspaces.capture.band_capture`.
    """
    claim = "the top singular vectors of W stand in for those of the gradient"
    source = "LoRA-XS, arXiv 2405.17604, beside its Theorem 3.1"
    top, bottom = IN_WORDS["top"], IN_WORDS["bottom"]
    tables = captured.pivot_table(index=["layer", "rank"], columns="family", values=["share", "chance"])
    if not {("share", top), ("share", bottom)} <= set(tables.columns):
        return [Case(claim, _WORDS, "not measured", source)]
    over_bottom = _logarithm(tables["share", top], tables["share", bottom])
    over_chance = _logarithm(tables["share", top], tables["chance", top])
    layers = captured["layer"].nunique()
    here = (
        f"before training the top basis holds {_times(over_bottom)} what the bottom one does of the gradient's energy, "
        f"and {_times(over_chance)} what chance would, geometric means over ranks and layers (one start; intervals "
        f"take its {layers} layers as independent)"
    )
    return [Case(claim, _WORDS, here, source, (Part(over_bottom, least=0), Part(over_chance, least=0)))]


def _doubts(summary: "pd.DataFrame", names: tuple[str, str], difference: float) -> list[str]:
    rows = {row["candidate"]: row for row in summary.to_dict("records") if row["candidate"] in names}
    if len(rows) < len(names):
        return []
    edge = []
    if difference < 0 or difference > 0:  # neither where they scored alike, or were not compared
        lower = names[0] if difference < 0 else names[1]
        edge = [f"the rate of “{lower}”, which scored lower, is on the edge of its range"] * bool(rows[lower]["edge"])
    lost = [(rows[name]["diverged"], name) for name in names]
    return edge + [f"{count} of the runs of “{name}” did not finish" for count, name in lost if count]


def _logarithm(first: "pd.Series[float]", second: "pd.Series[float]") -> Evidence:
    """Return the evidence of the mean of log(first / second), over ranks and then layers, the units."""
    both = (first > 0) & (second > 0)
    by_layer = (first[both] / second[both]).map(math.log).groupby("layer").mean()
    return over_units(by_layer.tolist())


def _times(logarithm: Evidence) -> str:
    mean, low, high = (math.exp(each) for each in logarithm[:3])
    return f"{mean:.2g} times" + (f" ({low:.2g} to {high:.2g})" if math.isfinite(low) else "")


def _share(found: Evidence) -> str:
    return with_minus(f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%})")


def _points(found: Evidence) -> str:
    return with_minus(f"{100 * found.value:.0f} points ({100 * found.low:.0f} to {100 * found.high:.0f})")


def _measured(sentence: str, found: Evidence) -> str:
    return (
        sentence if math.isfinite(found.low) else "nothing, for lack of such roles or of a gain over the trivial answer"
    )
