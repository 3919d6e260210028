"""How far quantising turns the subspaces in which LoRA-XS trains: angles between the bases' top directions."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from vxlab.adapters import resolve_targets
from vxlab.adapters.core import LayerWeights
from vxlab.analysis import chance_overlap, principal_angles, sampled_angles
from vxlab.experiments.models import load_model
from vxlab.experiments.runs import blocks_and_roles
from vxlab.progress import progress_bar
from vxlab.spectra import Triplets, singular_triplets

SIDES = ("output", "input")
"""Left singular vectors of W ``(out, in)`` lie in the space of its outputs, right ones in that of its inputs."""
_DRAWS = 20
_COLUMNS = [
    "scheme", "layer", "block", "role", "rank", "side", "overlap", "median", "largest", "chance_overlap", "chance",
    "relative_error", "error", "gap", "bound",
]  # fmt: skip


def turned_bases(
    model: str, num_labels: int, schemes: Sequence[str], ranks: Sequence[int], targets: str | Sequence[str]
) -> pd.DataFrame:
    """Return how far each weight's top singular subspaces on a quantised base lie from those of the float base.

    One row a scheme, layer, rank and side: ``layer``, ``block``, ``role``; ``side``, of outputs (left singular vectors)
    or inputs (right ones); ``overlap``, the mean cos² of the principal angles, ``median`` and ``largest`` of these
    angles in degrees; ``chance_overlap`` and ``chance``, overlap and median angle of unrelated subspaces of these
    sizes; ``relative_error`` = ‖E‖_F / ‖W‖_F of E = Wq - W; ``error`` = ‖E‖₂; ``gap`` = σ_r - σ_{r+1} of W; and
    ``bound``, the most that the largest angle can be by Wedin's theorem, sin θ ≤ ‖E‖₂ / δ, in degrees, 90 where it says
    nothing. δ is the larger of σ_r(Wq) - σ_{r+1}(W) and σ_r(W) - σ_{r+1}(Wq). A rank of all of a weight's
    singular values, or more, is left out.

    Args:
        model: as :func:`vxlab.load_model` takes it.
        num_labels: likewise.
        schemes: of quantised bases.
        ranks: r of LoRA-XS.
        targets: layers, as :func:`vxlab.attach` takes them.

    Raises:
        VxlabError: as :func:`vxlab.load_model`, or no layer matches.

    Source: Wedin, Perturbation bounds in connection with singular value decomposition (1972).
    """
    # Each W is made when it is asked for: all layers dequantised at once would be a model in floating point.
    whole = LayerWeights(resolve_targets(load_model(model, num_labels), targets))
    rows: list[tuple[Any, ...]] = []
    places = blocks_and_roles(whole)
    with progress_bar(len(schemes) * len(whole), "comparing bases", "layer") as bar:
        for scheme in schemes:
            packed = LayerWeights(resolve_targets(load_model(model, num_labels, scheme), targets))
            for layer in whole:
                W, Wq = (weights[layer].detach().float() for weights in (whole, packed))
                rows += [(scheme, layer, *places[layer], *each) for each in _of_layer(W, Wq, ranks)]
                bar.update()
    return pd.DataFrame(rows, columns=_COLUMNS)


def _of_layer(W: Tensor, Wq: Tensor, ranks: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    known = sorted({rank for rank in ranks if rank < min(W.shape)})
    if not known:
        return
    E = Wq.double() - W.double()
    error = float(torch.linalg.matrix_norm(E, 2))
    relative = float(E.norm() / W.double().norm())
    before, after = (singular_triplets({"W": weight}, known[-1] + 1)["W"] for weight in (W, Wq))
    for rank in known:
        gap = float(before.S[rank - 1] - before.S[rank])
        bound = _bound(error, before.S, after.S, rank)
        for side, angles, n in _angles(before, after, rank):
            told = (float((angles.cos() ** 2).mean()), *(math.degrees(x) for x in (angles.median(), angles[-1])))
            chance = chance_overlap(n, rank, rank), _chance_degrees(n, rank)
            yield rank, side, *told, *chance, relative, error, gap, bound


def _angles(before: Triplets, after: Triplets, rank: int) -> Iterator[tuple[str, Tensor, int]]:
    for side, one, other in (("output", before.U, after.U), ("input", before.Vh.mT, after.Vh.mT)):
        yield side, principal_angles(one[:, :rank], other[:, :rank]), len(one)


def _bound(error: float, before: Tensor, after: Tensor, rank: int) -> float:
    gap = float(max(after[rank - 1] - before[rank], before[rank - 1] - after[rank]))
    return math.degrees(math.asin(error / gap)) if gap > error else 90.0


@lru_cache
def _chance_degrees(n: int, rank: int) -> float:
    return math.degrees(sampled_angles(n, rank, rank, samples=_DRAWS).median())
