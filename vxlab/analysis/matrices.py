"""What a sound matrix and a subspace's basis are to every analysis."""

import torch
from torch import Tensor

from vxlab.errors import VxlabError

ROUNDING = torch.finfo(torch.float64).eps
"""2⁻⁵². A singular value up to this share of σ₁, times the matrix's longer side, counts as 0."""


def check_matrix(name: str, matrix: Tensor) -> Tensor:
    """Return a matrix as it is, detached, after a check that it is one of finite real numbers.

    Args:
        name: what to call it in an error.
        matrix: ``(rows, columns)``.

    Raises:
        VxlabError: it is no tensor of two dimensions and a floating dtype, is empty, or holds NaN or infinite values.
    """
    if not isinstance(matrix, Tensor) or matrix.dim() != 2 or not matrix.is_floating_point() or matrix.is_meta:
        raise VxlabError(f"{name} is {name_kind(matrix)}; give a matrix of real floating-point numbers, a torch tensor")
    if not matrix.numel():
        raise VxlabError(f"{name} is {tuple(matrix.shape)}, an empty matrix; give one row and one column at least")
    values = matrix.detach()
    # No copy of a large matrix: the extremes of one that holds NaN are NaN. Float8 alone has none.
    if not torch.stack((values if values.element_size() > 1 else values.float()).aminmax()).isfinite().all():
        raise VxlabError(f"{name}, {tuple(matrix.shape)}, holds NaN or infinite values; give finite ones")
    return values


def column_basis(A: Tensor, name: str = "A") -> Tensor:
    """Return an orthonormal basis of a matrix's column space.

    Its left singular vectors whose singular value is above max(n, a)·2⁻⁵²·σ₁: the numbers are taken as exact, so
    columns that depend on each other only up to float32's or bfloat16's rounding count as independent.

    Args:
        A: ``(n, a)`` of any floating dtype and device.
        name: what to call it in an error.

    Returns:
        ``(n, rank A)`` float64 on the CPU; no column for a zero matrix.

    Raises:
        VxlabError: A is no matrix of finite real numbers.

    >>> column_basis(torch.ones(4, 3)).abs()
    tensor([[0.5000],
            [0.5000],
            [0.5000],
            [0.5000]], dtype=torch.float64)
    """
    U, S, _ = torch.linalg.svd(check_matrix(name, A).to("cpu", torch.float64), full_matrices=False)
    independent: Tensor = U[:, S.gt(max(A.shape) * ROUNDING * S[0])]
    return independent


def name_kind(value: object) -> str:
    """Return what a value of the wrong kind is, for an error."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype} on {value.device}"
    return f"of type {type(value).__name__}" + (f" and length {len(value)}" if isinstance(value, tuple | list) else "")
