"""Frozen orthonormal bases for LoRA-XS: bands of a weight's singular vectors, or random ones."""

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from vxlab.errors import VxlabError

BANDS = ("top", "middle", "bottom")


class Triplets(NamedTuple):
    """r singular triplets of W, singular values in descending order: W ≈ U·diag(S)·Vh."""

    U: Tensor
    """(out, r)"""
    S: Tensor
    """(r,)"""
    Vh: Tensor
    """(r, in)"""


def singular_band(weight: Tensor, rank: int, band: str = "top", layer: str = "weight") -> Triplets:
    """Return r exact singular triplets of W: the largest, the middle or the smallest of them.

    The full decomposition is computed in float64 (torch has no half-precision SVD, and float32 vectors differ between
    machines more than a fingerprint should forgive). Signs follow one rule: the entry of largest magnitude in each
    left vector is positive.

    Args:
        weight: W, ``(out, in)``, any floating dtype.
        rank: r, 1 to min(out, in).
        band: ``top`` takes triplets 0 … r-1, ``bottom`` the last r, ``middle`` those from (min(out, in) - r) // 2 on.
        layer: the layer's name, for the error.

    Returns:
        float64 triplets on the weight's device (on the CPU where the device has no float64).

    Raises:
        VxlabError: W holds NaN or infinite values.
    """
    weight = weight.detach()
    if not torch.isfinite(weight).all():
        raise VxlabError(f"the weight of {layer} holds NaN or infinite values, so it has no SVD; load sound weights")
    if weight.device.type == "mps":
        weight = weight.cpu()
    U, S, Vh = _thin_svd(weight.double())
    start = {"top": 0, "middle": (len(S) - rank) // 2, "bottom": len(S) - rank}[band]
    keep = slice(start, start + rank)
    signs = _signs(U[:, keep])
    return Triplets(U[:, keep] * signs, S[keep], Vh[keep] * signs[:, None])


def random_basis(shape: tuple[int, int], rank: int, seed: int, layer: str) -> tuple[Tensor, Tensor]:
    """Return random orthonormal U ``(out, r)`` and Vh ``(r, in)`` in float64, on the CPU.

    They are the Q factors of Gaussian matrices whose generator is seeded with ``seed`` and the layer's name, so that a
    layer's basis depends on neither the other layers nor the device.
    """
    digest = hashlib.sha256(f"{seed}:{layer}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    U, V = (torch.linalg.qr(torch.randn(n, rank, generator=generator, dtype=torch.float64)).Q for n in shape)
    return U * _signs(U), (V * _signs(V)).T


def _thin_svd(weight: Tensor) -> Triplets:
    # LAPACK takes less than half the time for the tall one of a matrix and its transpose.
    if weight.shape[0] < weight.shape[1]:
        V, S, Uh = torch.linalg.svd(weight.T, full_matrices=False)
        return Triplets(Uh.T, S, V.T)
    return Triplets(*torch.linalg.svd(weight, full_matrices=False))


def _signs(columns: Tensor) -> Tensor:
    """Return ±1 for each column: the sign of its entry of largest magnitude."""
    largest = columns.abs().argmax(dim=0, keepdim=True)
    return columns.gather(0, largest)[0].sign()
