"""What was published on singular subspaces, judged by what a truncated model and LoRA-XS's bases showed."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vxlab.analysis.chance import bootstrap_interval
from vxlab.experiments.claims import Claim, judged
from vxlab.experiments.pairs import IN_POINTS
from vxlab.experiments.subspace_study import IN_WORDS
from vxlab.experiments.truncation import EVERY
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

    Args:
        answers: of the weights, from :func:`vxlab.experiments.truncation.truncated_answers`.
        metric: the score.
        trivial: what the simplest answer scores.

    Returns:
        A claim each: the top band keeps most of the gain; it does so less well in ``up``; attention tolerates
        truncation; ``down`` needs more of the spectrum than attention.
    """
    there = [role for role in answers["role"].unique() if role and role != EVERY]
    attention = [role for role in there if role in ATTENTION]
    others = [role for role in there if role != "up"]
    settings: dict[str, Any] = {"what": "weight", "metric": metric, "trivial": trivial}
    sizes = sorted(answers.loc[answers["band"] == "top", "fraction"].unique())
    size = " or ".join(f"{100 * each:.3g}" for each in sizes) + " %"

    def share(roles: Sequence[str]) -> tuple[float, float, float]:
        return kept_share(answers, roles, "top", sizes, **settings) if roles else _ABSENT

    def contrast(first: Sequence[str], second: Sequence[str]) -> tuple[float, float, float]:
        both = {*first, *second} <= set(there) and first and second
        return kept_share_contrast(answers, first, second, "top", sizes, **settings) if both else _ABSENT

    kept, less, attended, needed = (
        share(others),
        contrast(others, ["up"]),
        share(attention),
        contrast(attention, ["down"]),
    )
    return [
        Claim(
            "the top singular vectors keep most of what fine-tuning taught, the first MLP layer (up) apart", _WORDS,
            _measured(f"the top {size} of a role keeps {_share(*kept)} of the gain, mean of all roles but up", kept[1]),
            judged(*kept[1:], least=0.5), _CUT,
        ),
        Claim(
            "the first MLP layer (up, intermediate.dense) is the exception", _WORDS,
            _measured(f"cut to the top {size}, the other roles keep {_points(*less)} more of the gain", less[1]),
            judged(*less[1:], least=0), _CUT,
        ),
        Claim(
            "self-attention tolerates strong truncation", _WORDS,
            _measured(f"the top {size} of an attention role keeps {_share(*attended)} of the gain, mean", attended[1]),
            judged(*attended[1:], least=0.5), _CUT,
        ),
        Claim(
            "the second MLP layer (down, output.dense) needs more of the spectrum than self-attention", _WORDS,
            _measured(f"cut to the top {size}, attention keeps {_points(*needed)} more of the gain", needed[1]),
            judged(*needed[1:], least=0), _CUT,
        ),
    ]  # fmt: skip


def basis_claims(pairs: "pd.DataFrame", metric: str) -> list[Claim]:
    """Judge whether LoRA-XS does better from a random matrix's singular vectors than from those of W.

    Args:
        pairs: of a comparison of the bases, named by :func:`vxlab.experiments.subspace_study.by_basis`.
        metric: the score.
    """
    value, low, high = _difference(pairs, IN_WORDS["random-svd"], IN_WORDS["top"])
    here = "not measured"
    if math.isfinite(low):
        scale, digits, unit = (100, 1, " points") if metric in IN_POINTS else (1, 3, "")
        told = [f"{scale * each:+.{digits}f}".replace("-", "−") for each in (value, low, high)]
        here = f"{told[0]}{unit} (95 % {told[1]} to {told[2]})"
    return [
        Claim(
            "on SST-2 LoRA-XS does slightly better from the SVD of a random matrix than from that of W",
            _WORDS,
            here, judged(low, high, least=0),
            f"{_SOURCE}: RoBERTa-large, an unsettled claim",
        )
    ]  # fmt: skip


def capture_claims(captured: "pd.DataFrame") -> list[Claim]:
    """Judge LoRA-XS's premise, that W's top singular vectors stand in for the gradient's, by the first gradients.

    Were it so, the top basis would hold more of a gradient than the bottom one does.

    Args:
        captured: from :func:`vxlab.experiments.band_capture.band_capture`.
    """
    import numpy as np
    import pandas as pd

    shares = captured.pivot_table(index=["layer", "rank"], columns="family", values="share")
    low = high = math.nan
    here = "not measured"
    if {IN_WORDS["top"], IN_WORDS["bottom"]} <= set(shares.columns):
        ratios = pd.Series(np.log(shares[IN_WORDS["top"]] / shares[IN_WORDS["bottom"]]), index=shares.index)
        by_layer = ratios[np.isfinite(ratios)].groupby("layer").mean()
        mean, low, high = bootstrap_interval(by_layer.tolist()) if len(by_layer) else _ABSENT
        times = [f"{math.exp(each):.2g}" for each in (mean, low, high)]
        here = (
            f"before training the top basis holds {times[0]} times ({times[1]} to {times[2]}) what the bottom one does "
            "of the gradient's energy, the geometric mean over ranks and layers"
        )
    return [
        Claim(
            "the top singular vectors of W stand in for those of the gradient", _WORDS, here,
            judged(low, high, least=0), "LoRA-XS, arXiv 2405.17604, beside its Theorem 3.1",
        )
    ]  # fmt: skip


_ABSENT = (math.nan, math.nan, math.nan)


def _difference(pairs: "pd.DataFrame", first: str, second: str) -> tuple[float, float, float]:
    for row in pairs.to_dict("records"):
        if (row["a"], row["b"]) == (first, second):
            return row["difference"], row["low"], row["high"]
        if (row["b"], row["a"]) == (first, second):
            return -row["difference"], -row["high"], -row["low"]
    return _ABSENT


def _share(value: float, low: float, high: float) -> str:
    return f"{value:.0%} ({low:.0%} to {high:.0%})".replace("-", "−")


def _points(value: float, low: float, high: float) -> str:
    return f"{100 * value:.0f} points ({100 * low:.0f} to {100 * high:.0f})".replace("-", "−")


def _measured(sentence: str, low: float) -> str:
    return sentence if math.isfinite(low) else "nothing, for lack of such roles or of a gain over the trivial answer"
