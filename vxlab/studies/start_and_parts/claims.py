"""What changing one part of an adapter did, beside the papers' own ablations."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vxlab.experiments.candidates import difference_in_words, interval_in_words, of_pair
from vxlab.experiments.scoring import LEVEL, from_error, holm
from vxlab.experiments.sweeps import Comparison
from vxlab.studies import Claim, Finding, Part, Side, doubts_of, judge, p_value, published_table
from vxlab.studies.start_and_parts.variants import UNCHANGED, Variant

ABLATIONS = {
    "d alone": ("trained vectors", "only d"),
    "b alone": ("trained vectors", "only b"),
    "Kaiming normal": ("random matrices", "Kaiming normal"),
    "uniform in [0, 0.1]": ("random matrices", "Uniform [0, 0.1]"),
    "1e-7": ("start of d", "d starts at 1e-7"),
    "1.0": ("start of d", "d starts at 1.0"),
    "own for each layer": ("matrices shared", "unique matrices"),
}
"""The variants that VeRA's paper has: their part, and their name in its table."""
_PAPER_METRIC = "accuracy"
_OF_RANDOM = "of a random matrix"
_SLIGHTLY_BETTER = Claim(
    "LoRA-XS: the singular vectors of a random matrix do slightly better than W's own",
    "slightly better (SST-2)",
    "LoRA-XS (arXiv 2405.17604), as its reviews discuss it",
)


def parts_table(result: Comparison, of: Sequence[Variant]) -> pd.DataFrame:
    """Return one row a variant: its score, and how far it is from the unchanged method.

    Columns: ``method``, ``part``, ``variant``, ``candidate``; ``n``, ``diverged``, ``mean``, ``scores``,
    ``learning_rate`` and ``edge`` as a sweep's summary has them; ``difference`` (the variant's expected score less that
    of the unchanged method), ``low``, ``high`` (95 %), ``error``, ``freedom`` and ``p``, each for itself; ``p_holm``,
    corrected for all tests of this study, of the changed parts and of :func:`parts_claims`, and ``seen``, whether it is
    at most 0.05. NaN and False for the unchanged methods themselves.

    Args:
        result: of the sweep over :func:`candidates`.
        of: the variants, in the candidates' order.
    """
    rows, unchanged = [], ""
    names = dict(zip(result.fair.names, of, strict=True))
    summary = result.summary.set_index("candidate")
    columns = ["method", "n", "diverged", "mean", "scores", "learning_rate", "edge"]
    for name, variant in names.items():
        unchanged = name if variant.part == UNCHANGED else unchanged
        told = {"candidate": name, "part": variant.part, "variant": variant.name, **summary.loc[name, columns]}
        rows.append(told | of_pair(result.pairs, name, unchanged))
    table = pd.DataFrame(rows)
    own = table["p"].to_numpy(dtype=float)
    ranges = [p_value(claim) for claim in _claims(table, result.metric).values() if _of_range(claim)]
    table["p_holm"] = holm([*own, *ranges])[: len(own)]
    return table.assign(seen=table["p_holm"] <= LEVEL)


def published_differences() -> pd.DataFrame:
    """Return the paper's ablations as differences from its unchanged method: a row a variant and task.

    Columns: ``part``, ``variant``, ``task``, ``metric``, ``told`` (both scores with their standard deviation over 5
    seeds), ``difference`` (a fraction), ``spread`` (the standard deviation of a difference of two runs: both, added in
    squares), ``source``. RoBERTa-large, r=256.
    """
    paper = published_table("vera_ablations").set_index(["variant", "task"])
    rows = []
    for variant, (part, printed) in ABLATIONS.items():
        base = "shared matrices" if printed == "unique matrices" else "default"
        for task in paper.loc[printed].index:
            own, other = paper.loc[(printed, task)], paper.loc[(base, task)]
            figures = [f"{row['score']:.1f} ± {row['spread']:.1f}" for row in (own, other)]
            rows.append(
                {
                    "part": part, "variant": variant, "task": task, "metric": own["metric"],
                    "told": f"{figures[0]} against {figures[1]}",
                    "difference": float(own["score"] - other["score"]) / 100,
                    "spread": float(np.hypot(own["spread"], other["spread"])) / 100, "source": own["source"],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def parts_claims(table: pd.DataFrame, metric: str) -> list[Finding]:
    """Return the papers' claims on parts, judged together with the other changes by the differences measured here.

    A published loss of more than a point of accuracy, and of more than its spread over seeds, is a claim that the
    variant is worse. Else the claim is that the difference is within the published ones and their spread. LoRA-XS's
    paper has a random matrix's basis slightly better than W's on SST-2. A difference is not decided where runs did not
    finish, or where a rate on its range's edge could turn it round. How large a difference is in another metric than
    the paper's is not judged.

    Args:
        table: from :func:`parts_table`; what it lacks was not measured.
        metric: whose scores they are.
    """
    claims = _claims(table, metric)
    tested = [variant for variant, claim in claims.items() if claim.parts and not _of_range(claim)]
    return judge(list(claims.values()), beside=table.loc[~table["variant"].isin(tested), "p"])


def _claims(table: pd.DataFrame, metric: str) -> dict[str, Claim]:
    """Return the papers' claims by the variant that each is on, with what was measured of it."""
    claims = {}
    for variant, rows in published_differences().groupby("variant", sort=False):
        accuracies = rows[rows["metric"] == _PAPER_METRIC]
        if (accuracies["difference"] < -accuracies["spread"].clip(lower=0.01)).any():
            said, bounds = "is worse than the published choice", {"most": 0.0}
        else:
            said = "differs from the published choice by less than seeds do"
            same = rows[rows["metric"] == metric]  # a difference of another metric says nothing of this one's size
            ends = same["difference"] - same["spread"], same["difference"] + same["spread"]
            bounds = {"least": float(ends[0].min()), "most": float(ends[1].max())}
        told = "; ".join(f"{row['told']} ({_task(row)})" for row in rows.to_dict("records"))
        claim = Claim(f"VeRA, {rows['part'].iloc[0]}: {variant} {said}", told, str(rows["source"].iloc[0]))
        claims[str(variant)] = _measured(claim, str(variant), table, metric, **bounds)
    return {**claims, _OF_RANDOM: _measured(_SLIGHTLY_BETTER, _OF_RANDOM, table, metric, least=0.0)}


def _measured(
    claim: Claim, variant: str, table: pd.DataFrame, metric: str, least: float = -math.inf, most: float = math.inf
) -> Claim:
    """Lay beside a claim how far a variant is from its unchanged method."""
    rows = table[table["variant"] == variant]
    if rows.empty:
        return claim.beside("not run at this scale")
    row = rows.iloc[0]
    base = table[(table["part"] == UNCHANGED) & (table["method"] == row["method"])].iloc[0]
    published = Side(base, "the published choice's runs", "the published choice's rate")
    alike = math.isfinite(least) and math.isfinite(most)
    doubts = doubts_of(row["difference"], Side(row), published, alike=alike)
    if math.isnan(row["difference"]):
        return claim.beside("" if doubts else "no difference was measured", doubts=doubts)
    part = Part(from_error(row["difference"], row["error"], row["freedom"]), least, most)
    return claim.beside(difference_told(row, metric), *([] if math.isnan(least + most) else [part]), doubts=doubts)


def _of_range(claim: Claim) -> bool:
    """Say whether a claim is of a range; else its p-value is that of the difference itself."""
    return any(math.isfinite(part.least) and math.isfinite(part.most) for part in claim.parts)


def told_apart_sentence(table: pd.DataFrame, metric: str) -> str:
    """Return which changes were told apart from their unchanged method, published or not (Markdown).

    Args:
        table: from :func:`parts_table`.
        metric: whose scores they are.
    """
    edges = table[(table["part"] == UNCHANGED) & (table["edge"] != "")]["method"]
    told = [
        f"{row['method']}, {row['part']}: {row['variant']} {difference_told(row, metric)}"
        + ("; the unchanged method's rate is on the edge of its range" if row["method"] in set(edges) else "")
        for row in table[table["seen"]].to_dict("records")
    ]
    if not told:
        return "No change is told apart from its unchanged method."
    return f"Told apart from the unchanged method: {'. '.join(told)}."


def _task(row: Mapping[Any, Any]) -> str:
    name = str(row["task"]).upper()
    return name if row["metric"] == _PAPER_METRIC else f"{name}, {str(row['metric']).capitalize()}"


def difference_told(row: Any, metric: str) -> str:
    """Return a difference with its 95 % interval in words, in points where the metric has them."""
    return f"{difference_in_words(row['difference'], metric)} ({interval_in_words(row['low'], row['high'], metric)})"
