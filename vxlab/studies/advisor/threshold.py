"""One threshold over all layers: which rank-one parts of a trained update stay."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vxlab.analysis import Update
from vxlab.spectra import Triplets


def rank_one_parts(update: Update, by_term: bool = False) -> Triplets:
    """Return an update as a sum of rank-one parts, in descending order of their size; those that are 0 left out.

    Args:
        update: of one layer.
        by_term: the products of its factors' columns and rows, as they are, and not its singular triplets.
    """
    U, S, Vh = _terms(update) if by_term else update.svd()
    kept = (0.0 if by_term else update.rounding()) < S
    return Triplets(U[:, kept], S[kept], Vh[kept])


def cut_all(parts: Mapping[str, Triplets], share: float) -> dict[str, int]:
    """Return how many parts of each layer stay: the fewest over all layers, largest first, that reach a share.

    Args:
        parts: by layer, of :func:`rank_one_parts`.
        share: of Σσ² over all layers, above 0, at most 1.

    >>> diagonal = lambda *values: rank_one_parts(Update(torch.eye(2), torch.diag(torch.tensor(values))))
    >>> cut_all({"a": diagonal(3.0, 0.5), "b": diagonal(1.0, 1.0)}, 0.9)
    {'a': 1, 'b': 2}
    """
    sizes = torch.cat([S for _, S, _ in parts.values()])
    if share == 1:
        return {layer: len(S) for layer, (_, S, _) in parts.items()}
    order = torch.argsort(sizes, descending=True, stable=True)
    reached = torch.cumsum(sizes[order] ** 2, 0)
    count = int(torch.searchsorted(reached, share * reached[-1])) + 1
    of = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(S) for _, S, _ in parts.values()]))
    counts = torch.bincount(of[order[:count]], minlength=len(parts)).tolist()
    return dict(zip(parts, counts, strict=True))


def truncate(parts: Triplets, kept: int) -> tuple[Tensor, Tensor]:
    """Return the factors left ``(out, kept)`` and right ``(kept, in)`` of a layer's first parts."""
    U, S, Vh = parts
    return U[:, :kept] * S[:kept], Vh[:kept]


def _terms(update: Update) -> Triplets:
    left, right = update.left.double(), update.right.double()
    a, b = left.norm(dim=0), right.norm(dim=1)
    order = torch.argsort(a * b, descending=True, stable=True)
    tiny = torch.finfo(left.dtype).tiny
    return Triplets((left / a.clamp(min=tiny))[:, order], (a * b)[order], (right / b.clamp(min=tiny)[:, None])[order])
