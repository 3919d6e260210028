"""What the fits say: means with intervals, families at equal parameters, published claims, findings in words."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.scoring import from_error, from_interval, of_mean
from vxlab.studies import Claim, Finding, Part, judge
from vxlab.studies.expressivity.fits import Size
from vxlab.words import number_of

EQUAL = 0.05
"""Two mean errors count as equal where their ratio is within this of 1: a printed figure shows no more."""
_FIGURE = "VeRA, arXiv 2310.11454, Figure 6, fitted by gradient descent"


def error_summary(errors: pd.DataFrame, by: Sequence[str] = ("shape",)) -> pd.DataFrame:
    """Return the mean error of each size over matrices, with a 95 % interval.

    Args:
        errors: from ``random_errors`` or ``real_errors``.
        by: columns to keep apart.

    Returns:
        The columns ``by``, ``entries``, the fields of :class:`Size`, ``mean``, ``low``, ``high`` (Student's t over
        matrices; NaN for one) and ``n``.
    """
    from scipy.special import stdtrit

    keys = [*by, "entries", *Size._fields]
    summary = errors.groupby(keys, sort=False)["error"].agg(["mean", "sem", "count"]).reset_index()
    half = summary["sem"] * stdtrit(summary["count"] - 1, 0.975)
    summary = summary.assign(low=summary["mean"] - half, high=summary["mean"] + half)
    return summary.rename(columns={"count": "n"}).drop(columns="sem")


def equal_parameters(errors: pd.DataFrame, by: str = "shape", item: str = "matrix") -> pd.DataFrame:
    """Compare VeRA with LoRA wherever both train the same number of parameters.

    Args:
        errors: from ``random_errors`` or ``real_errors``.
        by: what to keep apart.
        item: the column that says which matrix a row is of.

    Returns:
        One row for each of ``by`` and count: ``parameters``, ``lora`` and ``vera`` (their settings), ``lora_error``
        and ``vera_error`` (means), ``ratio`` = VeRA's mean error ÷ LoRA's, ``low`` and ``high`` (95 %, from pairs of
        the same matrix) and ``n``. A matrix without a relative error, which is 0, is left out.
    """
    rows = []
    for group, own in errors.groupby(by, sort=False):
        lora, vera = (own[own["family"] == family] for family in ("LoRA", "VeRA"))
        both = lora.merge(vera, on=[item, "parameters"], suffixes=("_lora", "_vera"))
        both = both.dropna(subset=["error_lora", "error_vera"])
        rows += [{by: group, "parameters": count, **_paired(pair)} for count, pair in both.groupby("parameters")]
    columns = [by, "parameters", "lora", "vera", "lora_error", "vera_error", "ratio", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def figure_6_claims(errors: pd.DataFrame, shape: str = "10×10") -> list[Finding]:
    """Judge what VeRA's Figure 6 says, its claims together, by fits of random matrices of its size.

    That both fit equally well is claimed of a range, within :data:`EQUAL`: a test of equivalence.

    Args:
        errors: from ``random_errors``.
        shape: the published figure's.
    """
    own = errors[errors["shape"] == shape]
    if own.empty:
        raise VxlabError(f"no fits of shape {shape!r}; there are {', '.join(errors['shape'].unique())}")
    return judge([*(_equal(row) for row in equal_parameters(own).to_dict("records")), *_below(own)])


def real_findings(errors: pd.DataFrame) -> list[str]:
    """Return sentences on fits of layers' own matrices; ``target`` names what was fitted.

    Args:
        errors: tables of ``real_errors``, with a column ``target``.
    """
    sentences = []
    for target, own in errors.groupby("target", sort=False):
        moved = own.dropna(subset=["error"])
        if still := own["layer"].nunique() - moved["layer"].nunique():
            sentences.append(
                f"**{target}** is 0 in {number_of(still, 'layer')}, left out here: 0 has no relative error."
            )
        sentences += [*_against_lora(str(target), moved), *_against_chance(str(target), moved)]
    return sentences


def _paired(pair: pd.DataFrame) -> dict[str, object]:
    lora, vera = pair["error_lora"].to_numpy(), pair["error_vera"].to_numpy()
    ratio, n = vera.mean() / lora.mean(), len(pair)
    # The ratio of two means, to first order.
    error = np.std(vera - ratio * lora, ddof=1) / math.sqrt(n) / lora.mean() if n > 1 else math.nan
    found = from_error(ratio, error, n - 1)
    return {
        "lora": pair["setting_lora"].iloc[0], "vera": pair["setting_vera"].iloc[0], "lora_error": lora.mean(),
        "vera_error": vera.mean(), "ratio": ratio, "low": found.low, "high": found.high, "n": n,
    }  # fmt: skip


def _equal(row: Mapping[Hashable, Any]) -> Claim:
    found = from_interval(row["ratio"], row["low"], row["high"], row["n"] - 1)
    ratio = found.in_words(after=" times LoRA's", **_over(row["n"]))
    sizes = f"With {row['parameters']} parameters (LoRA {row['lora']}, VeRA {row['vera']})"
    claim = Claim(
        f"{sizes} both fit equally well, within {EQUAL:.0%}", "the two are equal at equal parameters", _FIGURE
    )
    return claim.beside(f"VeRA's best error is {ratio}", Part(found, 1 - EQUAL, 1 + EQUAL))


def _below(own: pd.DataFrame) -> list[Claim]:
    summary = error_summary(own)
    least = summary.loc[summary["family"] == "LoRA", "parameters"].min()
    vera = summary[(summary["family"] == "VeRA") & (summary["parameters"] < least)]
    if vera.empty:
        return []
    last = vera.loc[vera["parameters"].idxmax()]
    one = own[(own["family"] == "VeRA") & (own["parameters"] == last["parameters"])]
    found = from_interval(last["mean"], last["low"], last["high"], last["n"] - 1)
    here = (
        f"{len(vera)} sizes of {vera['parameters'].min()} to {last['parameters']} parameters; at the last the error is "
        f"{found.in_words(**_over(len(one)))} of 1 for fitting nothing"
    )
    said = f"VeRA fits with fewer parameters than the {least} of LoRA r=1"
    return [Claim(said, "VeRA's points begin left of LoRA's", _FIGURE).beside(here, Part(found, most=1))]


def _over(matrices: int) -> dict[str, str]:
    """Return what a mean is over, beside its interval or without one."""
    return dict.fromkeys(("over", "without"), number_of(matrices, "matrix", "matrices"))


def _against_lora(target: str, own: pd.DataFrame) -> list[str]:
    told = []
    for row in equal_parameters(own.assign(all=target), "all", "layer").to_dict("records"):
        span = "" if math.isnan(row["low"]) else f"{row['low']:.3f} to {row['high']:.3f}, "
        told.append(
            f"**{target}**, {row['parameters']:,} parameters a layer: LoRA {row['lora']} leaves "
            f"{row['lora_error']:.1%} of the energy, VeRA {row['vera']} {row['vera_error']:.1%} "
            f"(ratio {row['ratio']:.3f}, {span}{number_of(row['n'], 'layer')})."
        )
    return told + _without_pair(target, own)


def _without_pair(target: str, own: pd.DataFrame) -> list[str]:
    """Name the roles where no VeRA and LoRA sizes train as many parameters."""
    keys = ["layer", "parameters"]
    lora, vera = (own.loc[own["family"] == family, [*keys, "role"]] for family in ("LoRA", "VeRA"))
    lacking = own.loc[~own["layer"].isin(lora.merge(vera, on=keys)["layer"]), "role"]
    if lacking.empty:
        return []
    return [
        f"**{target}**, {', '.join(lacking.unique())}: no VeRA here trains as many parameters as a LoRA; one of rank "
        "in_features trains as many as LoRA r=1."
    ]


def _against_chance(target: str, own: pd.DataFrame) -> list[str]:
    """Say how much more LoRA-XS's bases hold of a target than random ones, which hold r²/(out·in) on average."""
    rows = own[(own["family"] == "LoRA-XS") & (own["parameters"] <= own["entries"] / 100)]
    if rows.empty:
        return []
    rows = rows[rows["rank"] == rows.groupby("layer")["rank"].transform("max")]
    gain = ((1 - rows["error"]) / (rows["parameters"] / rows["entries"])).to_numpy(dtype=float)
    layers = number_of(len(gain), "layer")
    held = of_mean(gain).in_words(".2f", " times", over=layers, without=layers)
    ranks = ", ".join(str(rank) for rank in sorted(set(rows["rank"])))
    return [
        f"**{target}**, LoRA-XS between W's top singular vectors, with at most 1 % of the entries as parameters "
        f"(r={ranks}): it holds {held} what random bases would."
    ]
