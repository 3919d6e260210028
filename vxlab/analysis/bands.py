"""A matrix's top, middle, bottom or random share of singular triplets, and the matrix rebuilt from it."""

import math

import torch
from torch import Tensor

from vxlab.analysis.matrices import check_matrix
from vxlab.errors import VxlabError
from vxlab.spectra import BANDS as ORDERED
from vxlab.spectra import Triplets

BANDS = (*ORDERED, "random")


def band_rank(n: int, fraction: float) -> int:
    """Return how many of n singular triplets a fraction is: the nearest whole number, halves upwards, at least 1.

    Args:
        n: the number of triplets, min(out, in) for a weight.
        fraction: above 0, at most 1.

    Raises:
        VxlabError: there is no triplet, or the fraction is out of its range.

    >>> [band_rank(384, fraction) for fraction in (0.001, 0.1, 0.5, 1.0)]
    [1, 38, 192, 384]
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise VxlabError(f"n={n!r} is no number of singular triplets to take a band from; give 1 or more")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise VxlabError(f"fraction={fraction!r} is no share of the singular triplets; choose one above 0, at most 1")
    return max(1, math.floor(n * fraction + 0.5))


def band_places(n: int, fraction: float, name: str, seed: int = 0) -> Tensor:
    """Return which of n singular triplets a band takes, counted from the largest, ascending.

    Args:
        n: as :func:`band_rank` takes it.
        fraction: as :func:`band_rank` takes it.
        name: as :func:`band` takes it.
        seed: of the random choice.

    Raises:
        VxlabError: as for :func:`band`.

    >>> band_places(6, 0.5, "middle").tolist()
    [1, 2, 3]
    """
    rank = band_rank(n, fraction)
    if name not in BANDS:
        raise VxlabError(f"name={name!r} is an unknown band; choose one of {', '.join(BANDS)}")
    if name == "random":
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        return order[:rank].sort().values
    start = {"top": 0, "middle": (n - rank) // 2, "bottom": n - rank}[name]
    return torch.arange(start, start + rank)


def band(triplets: Triplets, fraction: float, name: str, seed: int = 0) -> Triplets:
    """Return a band of a matrix's singular triplets, k = band_rank(n, fraction) of the n given.

    ``top`` takes the k largest, ``bottom`` the k smallest, ``middle`` those from (n - k) // 2 on, as
    :func:`vxlab.spectra.singular_triplets` does, and ``random`` k that a seed draws from all n, in the same places
    for every matrix of n triplets. Bands of one name and seed nest: a larger fraction holds what a smaller one does.

    Args:
        triplets: U ``(out, n)``, S ``(n,)`` in descending order, Vh ``(n, in)``: all triplets of a weight, or of an
            update as :meth:`~vxlab.analysis.update.Update.svd` returns them, zeros included.
        fraction: of the n triplets, above 0, at most 1.
        name: ``top``, ``middle``, ``bottom`` or ``random``.
        seed: of the random choice; the others need none.

    Returns:
        The band's triplets in their own dtype, in descending order of S.

    Raises:
        VxlabError: there is no triplet, their shapes disagree, or the name or the fraction is out of its range.

    >>> identity = torch.eye(4)
    >>> band(Triplets(identity, torch.tensor([4.0, 3.0, 2.0, 1.0]), identity), 0.5, "middle").S.tolist()
    [3.0, 2.0]
    """
    U, S, Vh = _consistent(triplets)
    chosen = band_places(len(S), fraction, name, seed)
    return Triplets(U[:, chosen], S[chosen], Vh[chosen])


def cut_band(matrix: Tensor | Triplets, fraction: float, name: str, seed: int = 0) -> Tensor:
    """Return a matrix rebuilt from a band of its singular triplets: U_band·diag(S_band)·Vh_band.

    Of all matrices of that rank the top band is the nearest to the whole (Eckart-Young); a fraction of 1 gives the
    matrix back, whatever the band.

    Args:
        matrix: ``(out, in)`` of any floating dtype and device, or its singular triplets, so that several bands need
            one decomposition.
        fraction: of its min(out, in) triplets, or of those given; above 0, at most 1.
        name: ``top``, ``middle``, ``bottom`` or ``random``.
        seed: of the random choice.

    Returns:
        ``(out, in)`` float64 on the CPU; 0 for a zero matrix.

    Raises:
        VxlabError: the matrix is no matrix of finite real numbers, or as for :func:`band`.

    >>> cut_band(torch.tensor([[3.0, 0.0], [0.0, -5.0]]), 0.5, "bottom").abs().tolist()
    [[3.0, 0.0], [0.0, 0.0]]
    """
    U, S, Vh = band(matrix if isinstance(matrix, tuple) else _decomposed(matrix), fraction, name, seed)
    return U.double() * S.double() @ Vh.double()


def _consistent(triplets: Triplets) -> Triplets:
    if len(triplets) != 3:
        raise VxlabError(
            f"triplets is a tuple of {len(triplets)}; give U (out, n), S (n,) and Vh (n, in), for an update "
            "those of update.svd()"
        )
    U, S, Vh = triplets
    if U.dim() != 2 or S.dim() != 1 or Vh.dim() != 2 or not U.shape[1] == len(S) == len(Vh):
        raise VxlabError(
            f"triplets are U {tuple(U.shape)}, S {tuple(S.shape)}, Vh {tuple(Vh.shape)}; give U (out, n), S (n,) and "
            "Vh (n, in) of one number n"
        )
    return Triplets(U, S, Vh)


def _decomposed(matrix: Tensor) -> Triplets:
    wide = check_matrix("matrix", matrix).to("cpu", torch.float64)
    return Triplets(*torch.linalg.svd(wide, full_matrices=False))
