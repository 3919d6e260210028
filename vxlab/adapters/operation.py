"""The one operation under every adapter: a linear map with a frozen weight and a low-rank update."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def adapted_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, left: Tensor, right: Tensor, thin_x: Tensor | None = None
) -> Tensor:
    """Return ``y = x·(W + left·right)ᵀ + bias`` without forming ``left·right``.

    The update is pushed through its thin factors: ``y = x·Wᵀ + (x·rightᵀ)·leftᵀ + bias``. Under autocast everything
    is cast to autocast's dtype first; otherwise the factors are cast to the dtype of ``x``.

    Args:
        x: ``(*, in)``, any number of leading dimensions, none of them needed to be non-zero.
        weight: W, ``(out, in)``, as in ``torch.nn.Linear``.
        bias: ``(out,)`` or None.
        left: ``(out, r)``.
        right: ``(r, in)``.
        thin_x: ``(*, in)``, what the update sees in place of ``x``: ``x`` after LoRA's dropout. None means ``x``.

    Returns:
        ``(*, out)``, in the dtype of ``x``, or in autocast's.

    >>> x, W, left, right = torch.ones(2, 3), torch.zeros(4, 3), torch.ones(4, 1), torch.ones(1, 3)
    >>> adapted_linear(x, W, None, left, right)[0]
    tensor([3., 3., 3., 3.])
    """
    dtype = _compute_dtype(x)
    x, weight, left, right = (t.to(dtype) for t in (x, weight, left, right))
    bias = None if bias is None else bias.to(dtype)
    thin_x = None if thin_x is None else thin_x.to(dtype)
    result: Tensor = _AdaptedLinear.apply(x, thin_x, weight, bias, left, right)  # type: ignore[no-untyped-call]
    return result


def _compute_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    # Autocast does not reach into a Function's backward pass, so the casts happen outside, where autograd sees them.
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


class _AdaptedLinear(Function):
    """Keep z = x·rightᵀ for left's gradient, and x only where right or W trains."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, thin_x: Tensor | None, weight: Tensor, bias: Tensor | None, left: Tensor, right: Tensor
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        thin = rows if thin_x is None else thin_x.reshape(-1, x.shape[-1])
        z = thin @ right.T
        y = torch.addmm(torch.nn.functional.linear(rows, weight, bias), z, left.T)
        keep_x = rows if ctx.needs_input_grad[2] else None
        keep_thin = thin if ctx.needs_input_grad[5] else None
        ctx.save_for_backward(keep_x, keep_thin, z, weight, left, right)
        ctx.shape, ctx.dropped = x.shape, thin_x is not None
        return y.reshape(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, thin, z, weight, left, right = ctx.saved_tensors
        needs = ctx.needs_input_grad
        gy = grads[0].reshape(-1, weight.shape[0])
        gz = gy @ left if needs[0] or needs[1] or needs[5] else None
        gx = gy @ weight if needs[0] else None
        g_thin = None
        if ctx.dropped:
            g_thin = (gz @ right).reshape(ctx.shape) if needs[1] and gz is not None else None
        elif gx is not None and gz is not None:
            gx = torch.addmm(gx, gz, right)
        return (
            None if gx is None else gx.reshape(ctx.shape),
            g_thin,
            gy.T @ x if needs[2] else None,
            gy.sum(0) if needs[3] else None,
            gy.T @ z if needs[4] else None,
            gz.T @ thin if needs[5] and gz is not None else None,
        )
