"""The one operation under every adapter: a linear map with a frozen weight and a low-rank update."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from vxlab.adapters.core.cost_model import Plan, choose_route
from vxlab.errors import VxlabError


class Rebuild(NamedTuple):
    """How to make the two factors again in the backward pass, so that nothing of them is kept until then."""

    factors: Callable[..., tuple[Tensor, Tensor]]
    """returns left and right from ``tensors``, without side effects"""
    tensors: tuple[Tensor, ...]
    """parameters and buffers, which are in memory anyway"""


def adapted_linear(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    left: Tensor,
    right: Tensor,
    *,
    dropout: float = 0.0,
    rebuild: Rebuild | None = None,
    unpack: Callable[[], Tensor] | None = None,
) -> Tensor:
    """Return ``y = x·(W + left·right)ᵀ + bias``.

    Whether the update is folded into a temporary weight or the tokens are pushed through its thin factors, what is
    kept for the backward pass, and how the factors' gradients are formed follow from the sizes: see
    :func:`vxlab.adapters.core.cost_model.choose_route`.

    Under autocast everything is computed in autocast's dtype. Otherwise W's part is computed in the dtype of ``x`` and
    the update's in that of the factors where it is wider (float32 adapters on a bfloat16 model), as PEFT does; the sum
    is in the dtype of ``x``.

    Args:
        x: ``(*, in)``, any number of leading dimensions, none of them needed to be non-zero.
        weight: W, ``(out, in)``, as in ``torch.nn.Linear``. None takes what ``unpack`` makes, or leaves W's
            part out: y = x·(left·right)ᵀ, without a bias.
        bias: ``(out,)`` or None.
        left: ``(out, r)``.
        right: ``(r, in)``.
        dropout: probability, 0 to below 1, of zeroing an entry of the update's x (the others grow by 1/(1 - p)); drawn
            from torch's global generator. 0 outside training.
        rebuild: makes ``left`` and ``right`` again in the backward pass; None keeps these two.
        unpack: makes a frozen W that is not held as such, in memory of its own, once in each pass: nothing of it is
            kept until the backward pass.

    Returns:
        ``(*, out)``, in the dtype of ``x``, or in autocast's.

    Raises:
        VxlabError: the shapes do not fit together, or outside autocast ``x`` and W differ in dtype.

    >>> x, W, left, right = torch.ones(2, 3), torch.zeros(4, 3), torch.ones(4, 1), torch.ones(1, 3)
    >>> adapted_linear(x, W, None, left, right)[0]
    tensor([3., 3., 3., 3.])
    """
    out_features, in_features = (left.shape[0], right.shape[1]) if weight is None else weight.shape
    if (x.shape[-1], left.shape[0], *right.shape) != (in_features, out_features, left.shape[1], in_features):
        raise VxlabError(
            f"x {tuple(x.shape)}, left {tuple(left.shape)} and right {tuple(right.shape)} do not fit a weight "
            f"(out, in) = {(out_features, in_features)}; they must be (*, in), (out, r) and (r, in)"
        )
    dtype, thin_dtype = compute_dtypes(x, weight, left)
    x, left, right = x.to(dtype), left.to(thin_dtype), right.to(thin_dtype)
    mask = torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - dropout) if dropout else None
    grad = torch.is_grad_enabled()
    chosen = choose_route(
        x.numel() // in_features,
        out_features,
        in_features,
        left.shape[1],
        may_fold=(weight is not None or unpack is not None)
        and dropout == 0
        and dtype == thin_dtype
        and dtype in (torch.float32, torch.float64),
        left_trains=grad and left.requires_grad,
        right_trains=grad and right.requires_grad,
        weight_trains=grad and weight is not None and weight.requires_grad,
    )
    if torch._C._are_functorch_transforms_active():
        whole = weight if unpack is None else unpack()
        return _plain(x, mask, whole, bias, left, right * (1 / (1 - dropout)))
    settings = _Settings(chosen, 1 / (1 - dropout), None if rebuild is None else rebuild.factors, unpack)
    if not grad:
        return _forward(_rows(x), mask, weight, bias, left, right, settings)[0].reshape(*x.shape[:-1], out_features)
    # Detached: the factors' gradients flow through left and right alone.
    kept = tuple(t.detach() for t in ((left, right) if rebuild is None else rebuild.tensors))
    y: Tensor = _AdaptedLinear.apply(_rows(x), mask, weight, bias, left, right, settings, *kept)  # type: ignore[no-untyped-call]
    return y.reshape(*x.shape[:-1], out_features)


def _plain(
    x: Tensor, mask: Tensor | None, weight: Tensor | None, bias: Tensor | None, left: Tensor, right: Tensor
) -> Tensor:
    """Compute the same by differentiable operations: torch.func nests and maps these in every order."""
    thin = (x if mask is None else x * mask).to(right.dtype) @ right.mT @ left.mT
    if weight is None:
        return thin.to(x.dtype)
    b = None if bias is None else bias.to(x.dtype)
    return (torch.nn.functional.linear(x, weight.to(x.dtype), b) + thin).to(x.dtype)


def compute_dtypes(x: Tensor, weight: Tensor | None, left: Tensor) -> tuple[torch.dtype, torch.dtype]:
    """Return the dtypes to compute W's part and the update's in."""
    kind = x.device.type
    if _autocasts(kind) and x.is_floating_point() and x.dtype != torch.float64:  # which autocast leaves alone
        dtype = torch.get_autocast_dtype(kind)
        return dtype, dtype
    if weight is not None and x.dtype != weight.dtype:
        raise VxlabError(
            f"x is {x.dtype} and the weight {weight.dtype}; they must be the same outside autocast: "
            f"convert the input with x.to({weight.dtype})"
        )
    return x.dtype, torch.promote_types(x.dtype, left.dtype)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which operations on this device keep the dtypes that they are given."""
    return torch.autocast(device.type, enabled=False) if _autocasts(device.type) else nullcontext()


def _autocasts(kind: str) -> bool:
    # Shapes alone know no autocast. Asking torch.amp which devices do would break the graph under torch.compile before
    # torch 2.13.
    return kind != "meta" and torch.is_autocast_enabled(kind)


class _Settings(NamedTuple):
    plan: Plan
    scale: float
    """1/(1 - dropout)"""
    factors: Callable[..., tuple[Tensor, Tensor]] | None
    unpack: Callable[[], Tensor] | None


class _AdaptedLinear(Function):
    """Forward and backward of the operation on (T, in) rows."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        mask: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        left: Tensor,
        right: Tensor,
        settings: _Settings,
        *kept: Tensor,
    ) -> Tensor:
        y, z = _forward(rows, mask, weight, bias, left, right, settings)
        chosen = settings.plan
        ctx.save_for_backward(rows if chosen.keep_x else None, z if chosen.keep_z else None, mask, weight, *kept)
        ctx.settings, ctx.thin_dtype, ctx.bias_dtype = settings, right.dtype, None if bias is None else bias.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(grads[0].device):
            return _gradients(ctx, grads[0])


def _forward(
    rows: Tensor,
    mask: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    left: Tensor,
    right: Tensor,
    settings: _Settings,
) -> tuple[Tensor, Tensor | None]:
    """Return the output and z = x·rightᵀ, if that was needed."""
    # A weight that autocast rounds is rounded again in the backward pass, and not kept until then.
    W, b = _whole(weight, settings, rows.dtype), None if bias is None else bias.to(rows.dtype)
    z: Any = None
    if settings.plan.keep_z or not settings.plan.fold_forward:
        z = _masked(rows, mask).to(right.dtype) @ _scaled(right, settings).T
    if W is None:
        return (z @ left.T).to(rows.dtype), z
    if settings.plan.fold_forward:
        return torch.nn.functional.linear(rows, torch.addmm(W, left, right), b), z
    return _thin_forward(rows, z, W, b, left), z


def _gradients(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    rows, z, mask, weight, *kept = ctx.saved_tensors
    settings: _Settings = ctx.settings
    x_needed, _, weight_needed, bias_needed, left_needed, right_needed, *_ = ctx.needs_input_grad
    chosen = settings.plan
    left, right = (t.to(ctx.thin_dtype) for t in (kept if settings.factors is None else settings.factors(*kept)))
    right = _scaled(right, settings)
    thin_gy = gy.to(left.dtype)
    gz_needed = (right_needed and not chosen.whole_gradient) or (x_needed and not chosen.fold_backward)
    gz: Any = thin_gy @ left if gz_needed else None
    W = _whole(weight, settings, gy.dtype) if x_needed else None
    gx = _input_gradient(gy, gz, W, left, right, mask, chosen) if x_needed else None
    gW: Any = gy.T @ rows if weight_needed else None
    thin_x: Any = None if rows is None else _masked(rows, mask).to(left.dtype)
    if chosen.whole_gradient:
        whole = gW.to(left.dtype) if gW is not None and mask is None else thin_gy.T @ thin_x
        gl = whole @ right.T if left_needed else None
        gr = left.T @ whole if right_needed else None
    else:
        z = thin_x @ right.T if left_needed and z is None else z
        gl = (z.T @ thin_gy).T if left_needed else None  # on a CPU, half the time of gyᵀ·z where r is small
        gr = gz.T @ thin_x if right_needed else None
    return (
        gx,
        None,
        None if gW is None else gW.to(weight.dtype),
        gy.sum(0).to(ctx.bias_dtype) if bias_needed else None,
        gl,
        _scaled(gr, settings),
        None,
        *(None for _ in kept),
    )


def _whole(weight: Tensor | None, settings: _Settings, dtype: torch.dtype) -> Tensor | None:
    """Return W in a dtype, unpacked where it is not held as such; None where W's part is left out."""
    W = settings.unpack() if weight is None and settings.unpack is not None else weight
    return None if W is None else W.to(dtype)


def _input_gradient(
    gy: Tensor, gz: Any, W: Tensor | None, left: Tensor, right: Tensor, mask: Tensor | None, chosen: Plan
) -> Tensor:
    if W is None:
        return _masked(gz @ right, mask).to(gy.dtype)
    if chosen.fold_backward:
        return gy @ torch.addmm(W, left, right)
    return _add_product(_masked(gz @ right, mask), gy, W)


def _thin_forward(rows: Tensor, z: Any, W: Tensor, bias: Tensor | None, left: Tensor) -> Tensor:
    if bias is None or W.dtype in (torch.float32, torch.float64):
        return _add_product(z @ left.T if bias is None else torch.addmm(bias, z, left.T), rows, W.T)
    # In half precision a bias goes into W's product: rounded before that, it would leave an error of its own size,
    # though W·x may cancel it.
    y = torch.nn.functional.linear(rows, W, bias)
    if y.dtype == left.dtype:
        return _added(y, z, left.T)
    update = z @ left.T
    return (y + update).to(y.dtype) if torch.compiler.is_compiling() else y.add_(update)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _masked(rows: Tensor, mask: Tensor | None) -> Tensor:
    return rows if mask is None else rows * mask.reshape(rows.shape)


def _scaled(factor: Any, settings: _Settings) -> Any:
    return factor if factor is None or settings.scale == 1 else factor * settings.scale


def _add_product(thin: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return thin + a·b, rounded once.

    The update's part comes first and W's large product accumulates onto it, in float32 inside the kernel: added to a
    product that is rounded already, in half precision a small update would vanish.
    """
    return _added(thin.to(a.dtype), a, b)


def _added(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return total + a·b, in total's own memory where nothing is traced.

    Before torch 2.13 torch.compile loses the gradients of a function of ours whose output was changed in place; and a
    compiler needs no such hint.
    """
    return torch.addmm(total, a, b) if torch.compiler.is_compiling() else total.addmm_(a, b)
