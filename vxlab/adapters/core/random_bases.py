"""Random bases: orthonormal directions, and matrices to take singular directions of, from a seed and a layer's name."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from vxlab.spectra import column_signs


def random_basis(
    shape: Sequence[int], rank: int, seed: int, layer: str, right_rank: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return random orthonormal U ``(out, r)`` and Vh ``(r, in)`` in float64, on the CPU.

    They are the Q factors of Gaussian matrices. ``right_rank`` is Vh's number of rows where it is not ``rank``.
    """
    generator = layer_generator(seed, layer)
    sizes = (rank, rank if right_rank is None else right_rank)
    U, V = (
        torch.linalg.qr(torch.randn(n, columns, generator=generator, dtype=torch.float64)).Q
        for n, columns in zip(shape, sizes, strict=True)
    )
    return U * column_signs(U), (V * column_signs(V)).T


def random_weight(weight: Tensor, seed: int, layer: str) -> Tensor:
    """Return a Gaussian matrix with the shape and Frobenius norm of ``weight``, in float64, on the CPU."""
    shape, norm = tuple(weight.shape), float(weight.double().norm())
    gaussian = torch.randn(shape, generator=layer_generator(seed, layer), dtype=torch.float64)
    return gaussian * (norm / float(gaussian.norm()))


def layer_generator(seed: int, layer: str) -> torch.Generator:
    """Return a generator on the CPU, seeded so that a layer's draws depend on neither other layers nor the device."""
    digest = hashlib.sha256(f"{seed}:{layer}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
