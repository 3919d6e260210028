"""What an adapter is made of: VeRA and LoRA-XS with one part changed at a time, beside the papers' own ablations."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vxlab.adapters import LoRAXS, Method, VeRA
from vxlab.experiments.claims import Claim, judged
from vxlab.experiments.comparison import Comparison
from vxlab.experiments.fair import Candidate, FairSweep
from vxlab.experiments.fair_recipes import fair_study
from vxlab.experiments.models import load_model
from vxlab.experiments.pairs import IN_POINTS, of_pair
from vxlab.experiments.published import published_table
from vxlab.experiments.statistics import holm
from vxlab.experiments.trained import layer_weights
from vxlab.spectra import singular_values

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

_LEVEL = 0.05


_RANKS = {"small": (64, 32), "smoke": (8, 8), "paper": (256, 25)}
"""VeRA's and LoRA-XS's, by scale."""
_CHOSEN: dict[str, dict[str, Any]] = {
    "small": {
        "batch_size": 4, "train_examples": 600, "eval_examples": 200, "learning_rates": 2, "report_seeds": 2,
        "spacing": 2.5,
    },
    "smoke": {"learning_rates": 1, "report_seeds": 1},
    "paper": {},
}  # fmt: skip
"""Beside the scale's own settings: VeRA learns by the number of steps rather than of examples, and there are many
variants."""


class Variant(NamedTuple):
    """A method with one part changed."""

    group: str
    """the part"""
    name: str
    """what it was changed to"""
    method: Method
    step: float = 1.0
    """its learning rates, as a multiple of the unchanged method's"""
    published: str = ""
    """its name in the paper's table of ablations, where it is there"""


def parts_sweep(
    scale: str = "small", *, vera_rank: int = 0, lora_xs_rank: int = 0, **chosen: Any
) -> tuple[FairSweep, list[Variant]]:
    """Return the fair sweep of all variants, and the variants in its candidates' order.

    Args:
        scale: as :func:`vxlab.fair_recipe` takes it.
        vera_rank: VeRA's r; 0 takes the scale's.
        lora_xs_rank: LoRA-XS's r; 0 takes the scale's.
        chosen: as :func:`vxlab.fair_recipe` takes it.

    Raises:
        VxlabError: as :func:`vxlab.fair_recipe`; or the model cannot be had.
    """
    chosen = _CHOSEN.get(scale, {}) | {name: value for name, value in chosen.items() if value is not None}
    plain = fair_study([VeRA(), LoRAXS()], scale, **chosen)
    usual = _RANKS[scale]
    rank = lora_xs_rank or usual[1]
    layers = layer_weights(load_model(plain.settings["model"], num_labels=2), plain.settings["targets"])
    of = variants(vera_rank or usual[0], rank, mean_top_sigma(layers, rank))
    centres = {each.method.name: each.centre for each in plain.names.values()}
    return fair_study(candidates(of, centres), scale, **chosen), of


def variants(vera_rank: int, lora_xs_rank: int, mean_sigma: float) -> list[Variant]:
    """Return VeRA and LoRA-XS unchanged, and each with one part changed.

    Learning rates follow how far a step moves ΔW. VeRA's b moves it by ‖diag(d)·A‖, so that d = 1.0 takes a tenth of
    the rates; with b fixed at 1, d moves it ten times as far as b does at d = 0.1. LoRA-XS's R moves it by Σ, so that
    without Σ the rates are Σ's mean times as high, and with √Σ on one side (``split`` has it on both) as with Σ.

    Args:
        vera_rank: VeRA's r.
        lora_xs_rank: LoRA-XS's r.
        mean_sigma: mean of the adapted weights' r largest singular values, from :func:`mean_top_sigma`.
    """
    vera, xs = VeRA(rank=vera_rank), LoRAXS(rank=lora_xs_rank)
    of_vera = [
        Variant("unchanged", "as published", vera, published="default"),
        Variant("trained vectors", "d alone", VeRA(vera_rank, vectors="d"), 0.3, "only d"),
        Variant("trained vectors", "b alone", VeRA(vera_rank, vectors="b"), 1.0, "only b"),
        Variant("random matrices", "Kaiming normal", VeRA(vera_rank, matrices="kaiming-normal"), 1.0, "Kaiming normal"),
        Variant("random matrices", "uniform in [0, 0.1]", VeRA(vera_rank, matrices="uniform"), 1.0, "Uniform [0, 0.1]"),
        Variant("start of d", "1e-7", VeRA(vera_rank, d_initial=1e-7), 1.0, "d starts at 1e-7"),
        Variant("start of d", "1.0", VeRA(vera_rank, d_initial=1.0), 0.1, "d starts at 1.0"),
        Variant("matrices shared", "own for each layer", VeRA(vera_rank, unique=True), 1.0, "unique matrices"),
    ]
    of_xs = [
        Variant("unchanged", "as published", xs),
        Variant("basis", "of a random matrix", LoRAXS(lora_xs_rank, basis="random-svd")),
        Variant("basis", "of the first gradient", LoRAXS(lora_xs_rank, basis="gradient")),
        Variant("place of Σ", "output", LoRAXS(lora_xs_rank, sigma="output")),
        Variant("place of Σ", "split", LoRAXS(lora_xs_rank, sigma="split")),
        Variant("place of Σ", "absent", LoRAXS(lora_xs_rank, sigma="none"), mean_sigma),
    ]
    return of_vera + of_xs


def mean_top_sigma(weights: "Mapping[str, Tensor]", rank: int) -> float:
    """Return the mean of the r largest singular values over all weights.

    >>> import torch
    >>> mean_top_sigma({"layer": torch.diag(torch.tensor([3.0, 1.0]))}, rank=2)
    2.0
    """
    return float(np.mean([values[:rank].mean() for values in singular_values(weights).values()]))


def candidates(of: Sequence[Variant], centres: Mapping[str, float]) -> list[Candidate]:
    """Return the variants as candidates of a fair sweep.

    Args:
        of: from :func:`variants`.
        centres: the middle of the unchanged methods' learning rates, by method's name.
    """
    return [Candidate(each.method, learning_rate=float(f"{centres[each.method.name] * each.step:.3g}")) for each in of]


def parts_table(result: Comparison, of: Sequence[Variant]) -> "pd.DataFrame":
    """Return one row a variant: its score, and how far it is from the unchanged method.

    Columns: ``method``, ``part``, ``variant``, ``candidate``; ``n``, ``diverged``, ``median``, ``q1``, ``q3``,
    ``learning_rate`` and ``edge`` as a sweep's summary has them; ``difference`` (the variant's expected score less that
    of the unchanged method), ``low``, ``high`` (95 %), ``p_holm`` (over the changed parts) and ``seen``, NaN and False
    for the unchanged methods themselves.

    Args:
        result: of the sweep over :func:`candidates`.
        of: the variants, in the candidates' order.
    """
    import pandas as pd

    rows, unchanged = [], ""
    names = dict(zip(result.fair.names, of, strict=True))
    summary = result.summary.set_index("candidate")
    columns = ["method", "n", "diverged", "median", "q1", "q3", "learning_rate", "edge"]
    for name, variant in names.items():
        unchanged = name if variant.name == "as published" else unchanged
        told = {"candidate": name, "part": variant.group, "variant": variant.name, **summary.loc[name, columns]}
        rows.append(told | of_pair(result.pairs, name, unchanged))
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    return table.assign(seen=table["p_holm"] <= _LEVEL).drop(columns="p")


def published_differences(of: Sequence[Variant]) -> "pd.DataFrame":
    """Return the paper's ablations as differences from its unchanged method: a row a variant and task.

    Columns: ``part``, ``variant``, ``task``, ``published`` (score), ``unchanged`` (score), ``difference`` (a
    fraction), ``spread`` (standard deviation over 5 seeds of both, added in squares), ``source``. RoBERTa-large, r=256.

    Args:
        of: the variants.
    """
    import pandas as pd

    paper = published_table("vera_ablations").set_index(["variant", "task"])
    rows = []
    for each in (each for each in of if each.published and each.published != "default"):
        base = "shared matrices" if each.published == "unique matrices" else "default"
        for task in paper.loc[each.published].index:
            own, other = paper.loc[(each.published, task)], paper.loc[(base, task)]
            rows.append(
                {
                    "part": each.group, "variant": each.name, "task": task,
                    "published": float(own["score"]), "unchanged": float(other["score"]),
                    "difference": float(own["score"] - other["score"]) / 100,
                    "spread": float(np.hypot(own["spread"], other["spread"])) / 100, "source": own["source"],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def parts_claims(table: "pd.DataFrame", of: Sequence[Variant], metric: str) -> list[Claim]:
    """Return the papers' claims on parts, each judged by the interval of the difference measured here.

    A published loss of more than a point, and of more than its spread over seeds, on either task is a claim that the
    variant is worse; else the claim is that it is within two points. LoRA-XS's paper has a random matrix's basis
    slightly better than W's on SST-2.

    Args:
        table: from :func:`parts_table`.
        of: the variants.
        metric: whose scores they are.
    """
    paper = published_differences(of)
    claims = []
    for (part, variant), rows in paper.groupby(["part", "variant"], sort=False):
        found = table[(table["part"] == part) & (table["variant"] == variant)].iloc[0]
        worse = bool((rows["difference"] < -rows["spread"].clip(lower=0.01)).any())
        claim = f"VeRA, {part}: {variant} is {'worse than' if worse else 'within 2 points of'} the published choice"
        bounds = {"most": 0.0} if worse else {"least": -0.02, "most": 0.02}
        figures = "; ".join(
            f"{row['published']:.1f} against {row['unchanged']:.1f} ({row['task'].upper()})"
            for row in rows.to_dict("records")
        )
        verdict = judged(found["low"], found["high"], **bounds)
        claims.append(Claim(claim, figures, difference_told(found, metric), verdict, str(rows["source"].iloc[0])))
    found = table[table["variant"] == "of a random matrix"].iloc[0]
    told = "LoRA-XS: the singular vectors of a random matrix do slightly better than W's own"
    source = "LoRA-XS (arXiv 2405.17604), as its reviews discuss it"
    verdict = judged(found["low"], found["high"], least=0.0)
    return [*claims, Claim(told, "slightly better (SST-2)", difference_told(found, metric), verdict, source)]


def difference_told(row: Any, metric: str) -> str:
    """Return a difference with its 95 % interval in words, in points where the metric has them."""
    scale, unit, digits = (100, " points", 1) if metric in IN_POINTS else (1, "", 3)
    # Adding 0.0 makes a rounded -0.0 a +0.0.
    told, low, high = (
        f"{round(scale * row[name], digits) + 0.0:+.{digits}f}" for name in ("difference", "low", "high")
    )
    return f"{told}{unit} (95 % {low} to {high})"
