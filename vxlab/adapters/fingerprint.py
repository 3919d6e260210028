"""Fingerprints: of a base model's weights, of shared random tensors, and of LoRA-XS bases."""

import ctypes
import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

PROBE_TOLERANCE = 1e-3
"""Largest difference of two probes of one basis; rounding moves a probe by 1e-6, a flipped sign by about 1/√r."""


def weights_fingerprint(tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> str:
    """Return the sha256 over names, shapes and values, in name order.

    Args:
        tensors: any device and dtype.
        dtype: round the values to this dtype first, so that one model loaded in two precisions can be recognised.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu", dtype or tensors[name].dtype).contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def frozen_probe(tensors: Sequence[Tensor]) -> float:
    """Return one number that tells a layer's frozen tensors: the probe of a pair of bases, or of all values in turn."""
    if len(tensors) == 2 and all(tensor.ndim == 2 for tensor in tensors):
        return round(basis_probe(*tensors), 6)
    return values_probe(tensors)


def values_probe(tensors: Sequence[Tensor]) -> float:
    """Return Σ g·t/‖t‖ for fixed Gaussian g: it moves with every sign, order and value, and little with rounding."""
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for tensor in tensors:
        values = tensor.detach().cpu().double().flatten()
        g = torch.randn(len(values), generator=generator, dtype=torch.float64)
        total += float(g @ values / values.norm().clamp_min(torch.finfo(torch.float64).tiny))
    return round(total, 6)


def basis_probe(left_basis: Tensor, right_basis: Tensor) -> float:
    """Return one number that changes with any direction, order or sign in a pair of bases, and little with rounding.

    It is ``u·G·v`` with fixed Gaussian G ``(r, r)``, and u, v the unit vectors along ``left_basisᵀ·g`` and
    ``right_basis·h`` for fixed Gaussian g ``(out,)`` and h ``(in,)``.
    """
    left, right = left_basis.detach().cpu().double(), right_basis.detach().cpu().double()
    generator = torch.Generator().manual_seed(0)
    g, h, G = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((left.shape[0],), (right.shape[1],), (left.shape[1], right.shape[0]))
    )
    u, v = left.T @ g, right @ h
    tiny = torch.finfo(torch.float64).tiny
    return float((u / u.norm().clamp_min(tiny)) @ G @ (v / v.norm().clamp_min(tiny)))


def _bytes(tensor: Tensor) -> ctypes.Array[ctypes.c_char]:
    # A view of the memory: torch gives bytes only through NumPy, which this room does not need.
    return (ctypes.c_char * (tensor.numel() * tensor.element_size())).from_address(tensor.data_ptr())
