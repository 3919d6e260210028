"""Random orthonormal bases for LoRA-XS."""

import hashlib

import torch
from torch import Tensor

from vxlab.spectra import column_signs


def random_basis(shape: tuple[int, int], rank: int, seed: int, layer: str) -> tuple[Tensor, Tensor]:
    """Return random orthonormal U ``(out, r)`` and Vh ``(r, in)`` in float64, on the CPU.

    They are the Q factors of Gaussian matrices whose generator is seeded with ``seed`` and the layer's name, so that a
    layer's basis depends on neither the other layers nor the device.
    """
    digest = hashlib.sha256(f"{seed}:{layer}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    U, V = (torch.linalg.qr(torch.randn(n, rank, generator=generator, dtype=torch.float64)).Q for n in shape)
    return U * column_signs(U), (V * column_signs(V)).T
