"""What was published on singular subspaces, judged by what a truncated model and LoRA-XS's bases showed."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vxlab.analysis.chance import bootstrap_interval
from vxlab.experiments.claims import ABSENT, CONSISTENT, CONTRADICTS, NOISY, Claim, judged
from vxlab.experiments.pairs import IN_POINTS, of_pair
from vxlab.experiments.subspace_study import IN_WORDS
from vxlab.experiments.truncation import EVERY, REMOVED
from vxlab.experiments.truncation_scores import kept_share, kept_share_contrast

if TYPE_CHECKING:
    import pandas as pd

ATTENTION = ("query", "key", "value", "fused-qkv", "attention-output")
_SOURCE = "LoRA-XS, arXiv 2405.17604, and its reviews"
_CUT = f"{_SOURCE}: RoBERTa-large on MRPC, SST-2 and MNLI; the procedure is recalled, not verified"
_WORDS = "no figure"


def truncation_claims(answers: "pd.DataFrame", *, metric: str, trivial: float) -> list[Claim]:
    """Judge what was published on truncated weights by one fine-tuned model.

    The *gain* is the score above the simplest answer's; a band keeps the share of it that is left when a role's
    weights are cut to that band, the mean over the sizes that were asked for, with an interval over test items, paired.
    A role whose weights can all be removed keeps much whatever the band, so the top band must do better than that.

    Args:
        answers: of the weights, from :func:`vxlab.experiments.truncation.truncated_answers`.
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
        Claim(
            "the first MLP layer (up, intermediate.dense) is the exception", _WORDS,
            _measured(f"with the top {asked.size} the other roles keep {_points(*less)} more of the gain", less[1]),
            judged(*less[1:], least=0), _CUT,
        ),
        _tolerates(asked, attention),
        Claim(
            "the second MLP layer (down, output.dense) needs more of the spectrum than self-attention", _WORDS,
            _measured(f"with the top {asked.size} attention keeps {_points(*needed)} more of the gain", needed[1]),
            judged(*needed[1:], least=0), _CUT,
        ),
    ]  # fmt: skip


class _Asked:
    """What a truncated model was asked: shares of the gain that the top bands keep, each a (value, low, high)."""

    def __init__(self, answers: "pd.DataFrame", metric: str, trivial: float) -> None:
        self.answers = answers
        self.roles = [role for role in answers["role"].unique() if role and role != EVERY]
        self.sizes = sorted(answers.loc[answers["band"] == "top", "fraction"].unique())
        self.size = ", ".join(f"{100 * each:.3g} %" for each in self.sizes)
        self.settings: dict[str, Any] = {"what": "weight", "metric": metric, "trivial": trivial}

    def share(self, roles: Sequence[str], band: str = "top") -> tuple[float, float, float]:
        sizes = [0.0] if band == REMOVED else self.sizes
        return kept_share(self.answers, roles, band, sizes, **self.settings) if roles else _ABSENT

    def contrast(self, first: Sequence[str], second: Sequence[str], against: str = "top") -> tuple[float, float, float]:
        if not (first and second and {*first, *second} <= set(self.roles)):
            return _ABSENT
        return kept_share_contrast(self.answers, first, second, "top", self.sizes, against=against, **self.settings)


def _keeps_most(asked: _Asked, roles: Sequence[str]) -> Claim:
    kept, more = asked.share(roles), asked.contrast(roles, roles, REMOVED)
    told = (
        f"{_share(*kept)} of the gain is left with the top {asked.size} of a role but up, mean; "
        f"{_points(*more)} more than with all of it removed"
    )
    claim = "the top singular vectors keep most of what fine-tuning taught, the first MLP layer (up) apart"
    verdict = _both(judged(*kept[1:], least=0.5), judged(*more[1:], least=0))
    return Claim(claim, _WORDS, _measured(told, kept[1]), verdict, _CUT)


def _tolerates(asked: _Asked, attention: Sequence[str]) -> Claim:
    kept, without = asked.share(attention), asked.share(attention, REMOVED)
    told = (
        f"{_share(*kept)} of the gain is left with the top {asked.size} of an attention role, "
        f"{_share(*without)} with all of it removed"
    )
    verdict = judged(*kept[1:], least=0.5)
    if verdict == CONSISTENT and without[0] >= 0.5:  # no part of these weights is needed
        verdict = NOISY
    return Claim("self-attention tolerates strong truncation", _WORDS, _measured(told, kept[1]), verdict, _CUT)


def basis_claims(pairs: "pd.DataFrame", summary: "pd.DataFrame", metric: str) -> list[Claim]:
    """Judge whether LoRA-XS does better from a random matrix's singular vectors than from those of W.

    A difference that another rate or the runs that were lost could turn round is too noisy to say: the best rate of
    the one that scored lower lies on the edge of its range, or runs of either did not finish.

    Args:
        pairs: of a comparison of the bases, named by :func:`vxlab.experiments.subspace_study.by_basis`.
        summary: of the same comparison.
        metric: the score.
    """
    names = IN_WORDS["random-svd"], IN_WORDS["top"]
    found = of_pair(pairs, *names)
    value, low, high = found["difference"], found["low"], found["high"]
    verdict, doubts = judged(low, high, least=0), _doubts(summary, names, value)
    if doubts and verdict in (CONSISTENT, CONTRADICTS):
        verdict = NOISY
    here = "not measured"
    if math.isfinite(low):
        scale, digits, unit = (100, 1, " points") if metric in IN_POINTS else (1, 3, "")
        told = [f"{scale * each:+.{digits}f}".replace("-", "−") for each in (value, low, high)]
        here = f"{told[0]}{unit} (95 % {told[1]} to {told[2]})"
    here = "; ".join([here, *doubts])
    return [
        Claim(
            "on SST-2 LoRA-XS does slightly better from the SVD of a random matrix than from that of W",
            _WORDS,
            here, verdict,
            f"{_SOURCE}: RoBERTa-large, an unsettled claim",
        )
    ]  # fmt: skip


def capture_claims(captured: "pd.DataFrame") -> list[Claim]:
    """Judge LoRA-XS's premise, that W's top singular vectors stand in for the gradient's, by the first gradients.

    Were it so, the top basis would hold more of a gradient than the bottom one does, and more than chance.

    Args:
        captured: from :func:`vxlab.experiments.band_capture.band_capture`.
    """
    top, bottom = IN_WORDS["top"], IN_WORDS["bottom"]
    tables = captured.pivot_table(index=["layer", "rank"], columns="family", values=["share", "chance"])
    here, verdict = "not measured", ABSENT
    if {("share", top), ("share", bottom)} <= set(tables.columns):
        over_bottom = _ratio(tables["share", top], tables["share", bottom])
        over_chance = _ratio(tables["share", top], tables["chance", top])
        verdict = _both(*(judged(*each[1:], least=1) for each in (over_bottom, over_chance)))
        here = (
            f"before training the top basis holds {_times(*over_bottom)} what the bottom one does of the gradient's "
            f"energy, and {_times(*over_chance)} what chance would, geometric means over ranks and layers (intervals "
            "over layers, one start)"
        )
    return [
        Claim(
            "the top singular vectors of W stand in for those of the gradient", _WORDS, here, verdict,
            "LoRA-XS, arXiv 2405.17604, beside its Theorem 3.1",
        )
    ]  # fmt: skip


_ABSENT = (math.nan, math.nan, math.nan)


def _both(*verdicts: str) -> str:
    """Return the verdict on a claim that needs each of several things to hold."""
    return next((worst for worst in (CONTRADICTS, ABSENT, NOISY) if worst in verdicts), CONSISTENT)


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


def _ratio(first: "pd.Series[float]", second: "pd.Series[float]") -> tuple[float, float, float]:
    """Return the geometric mean of first / second, over ranks and then layers, with its interval over layers."""
    both = (first > 0) & (second > 0)
    by_layer = (first[both] / second[both]).map(math.log).groupby("layer").mean()
    mean, low, high = (math.exp(each) for each in bootstrap_interval(by_layer.tolist()))
    return mean, low, high


def _times(mean: float, low: float, high: float) -> str:
    return f"{mean:.2g} times" + (f" ({low:.2g} to {high:.2g})" if math.isfinite(low) else "")


def _share(value: float, low: float, high: float) -> str:
    return f"{value:.0%} ({low:.0%} to {high:.0%})".replace("-", "−")


def _points(value: float, low: float, high: float) -> str:
    return f"{100 * value:.0f} points ({100 * low:.0f} to {100 * high:.0f})".replace("-", "−")


def _measured(sentence: str, low: float) -> str:
    return sentence if math.isfinite(low) else "nothing, for lack of such roles or of a gain over the trivial answer"
