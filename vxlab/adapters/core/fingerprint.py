"""Fingerprints: of a base model's weights, of shared random tensors, and of LoRA-XS bases."""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from vxlab.adapters.core.content_key import content_key
from vxlab.errors import VxlabError
from vxlab.spectra import memory_of

PROBE_TOLERANCE = 1e-3
"""Largest difference of two probes of one basis; rounding moves a probe by 1e-6, a flipped sign by about 1/√r."""

_PRECISIONS = (torch.bfloat16, torch.float16, torch.float32)

_known: dict[tuple[str, torch.dtype | None], str] = {}
"""The fingerprints of the bases that this process has hashed, by their content and the dtype rounded to."""


def has_values(tensor: Tensor) -> bool:
    """Tell a tensor that holds numbers from one that is a shape alone, on the meta device or in torch's FakeTensorMode.

    >>> has_values(torch.zeros(2)), has_values(torch.zeros(2, device="meta"))
    (True, False)
    """
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))


def weights_fingerprint(tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> str:
    """Return the sha256 over names, shapes and values, in name order.

    Args:
        tensors: any device and dtype.
        dtype: round the values to this dtype first, so that one model loaded in two precisions can be recognised.
    """
    _require_values(tensors)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu", dtype or tensors[name].dtype).contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(memory_of(tensor))
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


def base_fingerprints(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return by what frozen tensors are recognised: as they are, and rounded to every precision below.

    One content is hashed once in a process: a second time it costs one pass over the memory.
    """
    narrower = [dtype for dtype in _PRECISIONS if dtype != torch.float32 or "float64" in _dtypes(tensors)]
    whole, *rounded = _hash_once(tensors, None, *narrower)
    names = (f"sha256_{_name(dtype)}" for dtype in narrower)
    return {"dtype": _dtypes(tensors), "sha256": whole, **dict(zip(names, rounded, strict=True))}


def check_fingerprints(tensors: Mapping[str, Tensor], saved: Mapping[str, str], what: str) -> None:
    """Raise unless these are the tensors that were fingerprinted, or rounded from them, or the other way round.

    Args:
        tensors: those here.
        saved: what :func:`base_fingerprints` returned for those there.
        what: the beginning of the error, whose subject is the tensors.

    Raises:
        VxlabError: they are others, or in two precisions that cannot be compared.
    """
    here, there = _dtypes(tensors), saved["dtype"]
    dtype = None if here == there else _common({*here.split(","), *there.split(",")})
    known = saved.get(f"sha256_{_name(dtype)}") if dtype and _name(dtype) != there else saved["sha256"]
    neither = {here, there} == {"float16", "bfloat16"}
    if neither or known is None:
        raise VxlabError(f"{what} are in {here} and were saved in {there}: not comparable, so load it in {there}")
    if _hash_once(tensors, dtype) != [known]:
        raise VxlabError(f"{what} have another fingerprint; load the model it was trained on")


def _hash_once(tensors: Mapping[str, Tensor], *dtypes: torch.dtype | None) -> list[str]:
    """Return the fingerprint in each dtype, from memory where this process has hashed the same content before."""
    _require_values(tensors)
    content = content_key(tensors)
    found = {dtype: _known.get((content, dtype)) or weights_fingerprint(tensors, dtype) for dtype in dtypes}
    new = {(content, dtype): found[dtype] for dtype in dtypes if (content, dtype) not in _known}
    if new and content_key(tensors) == content:  # else another thread wrote meanwhile
        _known.update(new)
    return [found[dtype] for dtype in dtypes]


def _require_values(tensors: Mapping[str, Tensor]) -> None:
    for name in sorted(tensors):
        if not has_values(tensors[name]):
            where = "is on the meta device, without values" if tensors[name].is_meta else "is a shape without values"
            raise VxlabError(f"`{name}` {where}; load the model's weights first")


def _common(precisions: set[str]) -> torch.dtype:
    """Return the precision to which the tensors of both sides are rounded."""
    if precisions == {"float64", "float32"}:
        return torch.float32
    return torch.float16 if "float16" in precisions else torch.bfloat16


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


def _dtypes(tensors: Mapping[str, Tensor]) -> str:
    return ",".join(sorted({_name(tensor.dtype) for tensor in tensors.values()}))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
