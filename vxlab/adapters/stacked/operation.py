"""The operation under stacked adapters: groups of rows, one frozen weight, and each group's own update."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from vxlab.adapters.core import operation
from vxlab.adapters.stacked.shared_product import SharedProduct
from vxlab.errors import VxlabError


class Link(NamedTuple):
    """A linear map on the way of the update."""

    tensor: Tensor
    """a matrix ``(o, i)`` of all groups or ``(G, o, i)``, one a group; or diagonals, ``(d,)`` or ``(G, d)``"""
    diagonal: bool = False

    @property
    def of_groups(self) -> bool:
        """Whether every group has its own."""
        return self.tensor.dim() == (2 if self.diagonal else 3)


def stacked_linear(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    links: Sequence[Link],
    *,
    mask: Tensor | None = None,
    product: SharedProduct | None = None,
) -> Tensor:
    """Return ``y = x·Wᵀ + bias + x·T₁ᵀ·T₂ᵀ···``, where the rows of every group meet that group's own links.

    W + ΔW is never formed: there would be one for every group. For the backward pass is kept what the narrowest way
    to the first link that trains gives, and the thin inputs of later ones; the rest is computed again. One group's
    numbers have no part in another's, in either direction, be they NaN.

    Args:
        x: ``(G, N, in)``, N rows for each of G groups.
        weight: W ``(out, in)``, frozen; None leaves W's part and the bias out.
        bias: ``(out,)``, frozen, or None.
        links: the update, from x on; one that trains must be of groups.
        mask: ``(G, N, in)``, true where the update sees x, and elsewhere 0 in its place.
        product: remembers x·T₁ᵀ for other layers with the same x and T₁, where the groups share T₁ and nothing needs
            a gradient.

    Returns:
        ``(G, N, out)``, in the dtypes of :func:`vxlab.adapters.adapted_linear`.

    Raises:
        VxlabError: the shapes do not fit together, or what is not of groups trains.

    >>> x, W, A, B = torch.ones(2, 1, 3), torch.zeros(4, 3), torch.ones(1, 3), torch.ones(2, 4, 1)
    >>> stacked_linear(x, W, None, [Link(A), Link(B * torch.tensor([1.0, 2.0])[:, None, None])])[:, 0, 0]
    tensor([3., 6.])
    """
    _require_fitting(x, weight, links)
    given = (x, weight, bias, *(link.tensor for link in links))
    grad = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in given)
    trains = [grad and link.tensor.requires_grad for link in links]
    shared = [link for link, each in zip(links, trains, strict=True) if each and not link.of_groups]
    if shared or (grad and any(each is not None and each.requires_grad for each in (weight, bias))):
        raise VxlabError("weight, bias and what all groups share are frozen here; call requires_grad_(False)")
    dtype, thin_dtype = operation.compute_dtypes(x, weight, links[0].tensor)
    settings = _Settings(
        tuple(link.diagonal for link in links), choose_kept([_widths(link)[0] for link in links], trains), thin_dtype
    )
    tensors = [link.tensor for link in links]
    if not grad:
        first = None
        if product is not None and mask is None and len(links) > 1 and not (links[0].of_groups or links[0].diagonal):
            first = product.of(x, tensors[0], thin_dtype)
        return _forward(x.to(dtype), mask, weight, bias, settings, tensors, first)[0]
    y: Tensor = _StackedLinear.apply(x.to(dtype), mask, weight, bias, settings, *tensors)  # type: ignore[no-untyped-call]
    return y


def chain_links(
    names: Sequence[str], tensors: Mapping[str, Tensor], dimensions: Mapping[str, int], shape: tuple[int, int]
) -> list[Link]:
    """Return the links of a family's chain.

    Args:
        names: of the tensors, from x on; the first and the last matrix may be larger than the layer, which takes the
            leading columns, or rows.
        tensors: by name, of one adapter or of groups.
        dimensions: of one adapter's tensors: 2 of matrices, 1 of diagonals.
        shape: (out, in) of the layer.
    """
    links = [Link(tensors[name], dimensions[name] == 1) for name in names]
    matrices = [number for number, link in enumerate(links) if not link.diagonal]
    if matrices:
        first, end = matrices[0], matrices[-1]
        links[first] = Link(links[first].tensor[..., : shape[1]])
        links[end] = Link(links[end].tensor[..., : shape[0], :])
    return links


def choose_kept(widths: Sequence[int], trains: Sequence[bool]) -> tuple[bool, ...]:
    """Return which links' inputs to keep for the backward pass, so that those of all that train can be had from them.

    The narrowest input on the way to the first link that trains, and each later one's that is no wider.

    Args:
        widths: of every link's input; the first is x's.
        trains: whether it trains.

    >>> choose_kept([768, 256, 256, 768], [False, True, False, True])  # VeRA: z = x·Aᵀ alone
    (False, True, False, False)
    """
    if True not in trains:
        return (False,) * len(widths)
    first = list(trains).index(True)
    start = min(range(first + 1), key=lambda number: (widths[number], -number))
    return tuple(
        number == start or (number > first and trains[number] and width <= widths[start])
        for number, width in enumerate(widths)
    )


class _Settings(NamedTuple):
    diagonal: tuple[bool, ...]
    kept: tuple[bool, ...]
    thin_dtype: torch.dtype


class _StackedLinear(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mask: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        settings: _Settings,
        *tensors: Tensor,
    ) -> Tensor:
        y, inputs = _forward(x, mask, weight, bias, settings, tensors)
        # x itself, and not as the update sees it, for other layers keep the same.
        whole = [x, *inputs[1:]]
        kept = [each if keep else None for each, keep in zip(whole, settings.kept, strict=True)]
        ctx.save_for_backward(mask, weight, *tensors, *kept)
        ctx.settings = settings
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with operation.without_autocast(grads[0].device):
            return _gradients(ctx, grads[0])


def _forward(
    x: Tensor,
    mask: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    settings: _Settings,
    tensors: Sequence[Tensor],
    first: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Return the output and every link's input; ``first`` is what the first link gives, where that is known."""
    links = _links(settings, tensors)
    inputs = [_seen(x, mask, settings)]
    for link in links[:-1]:
        inputs.append(_through(inputs[-1], link) if first is None or len(inputs) > 1 else first)
    if weight is None:
        return _through(inputs[-1], links[-1]).to(x.dtype), inputs
    W = weight.to(x.dtype)
    if bias is None:
        return _add_product(_through(inputs[-1], links[-1]).to(x.dtype), x, W.T), inputs
    # A bias goes into W's product: rounded before that, in half precision, it would leave an error of its own size.
    y = torch.nn.functional.linear(x, W, bias.to(x.dtype))
    return _add_through(y, inputs[-1], links[-1]), inputs


def _gradients(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    settings: _Settings = ctx.settings
    mask, weight, *rest = ctx.saved_tensors
    count = len(settings.diagonal)
    links, kept = _links(settings, rest[:count]), rest[count:]
    x_needed, needed = ctx.needs_input_grad[0], ctx.needs_input_grad[5:]
    inputs = _inputs_again(kept, mask, settings, links, needed)
    found: list[Tensor | None] = [None] * count
    g = gy.to(settings.thin_dtype)
    for number in range(count - 1, -1, -1):
        if needed[number]:
            found[number] = _link_gradient(g, inputs[number], links[number]).to(rest[number].dtype)
        if x_needed or any(needed[:number]):
            g = _back(g, links[number])
    gx = None
    if x_needed:
        gx = (g if mask is None else g * mask).to(gy.dtype)
        gx = gx if weight is None else _add_product(gx, gy, weight.to(gy.dtype))
    return (gx, None, None, None, None, *found)


def _inputs_again(
    kept: Sequence[Any], mask: Tensor | None, settings: _Settings, links: Sequence[Link], needed: Sequence[bool]
) -> list[Any]:
    """Return the inputs of links, those that were not kept computed again up to the last that is needed."""
    inputs: list[Any] = [None if each is None else each.to(settings.thin_dtype) for each in kept]
    if kept[0] is not None:
        inputs[0] = _seen(kept[0], mask, settings)
    for number, link in enumerate(links[:-1]):
        if inputs[number] is not None and inputs[number + 1] is None and any(needed[number + 1 :]):
            inputs[number + 1] = _through(inputs[number], link)
    return inputs


def _links(settings: _Settings, tensors: Sequence[Tensor]) -> list[Link]:
    # Cast here and once more in the backward pass, so that nothing cast is kept until then.
    cast = (tensor.to(settings.thin_dtype) for tensor in tensors)
    return [Link(tensor, diagonal) for tensor, diagonal in zip(cast, settings.diagonal, strict=True)]


def _seen(x: Tensor, mask: Tensor | None, settings: _Settings) -> Tensor:
    return (x if mask is None else x * mask).to(settings.thin_dtype)


def _through(h: Tensor, link: Link) -> Tensor:
    return h * _along(link) if link.diagonal else h @ link.tensor.mT


def _back(g: Tensor, link: Link) -> Tensor:
    return g * _along(link) if link.diagonal else g @ link.tensor


def _along(link: Link) -> Tensor:
    """Return diagonals as they multiply rows."""
    return link.tensor[:, None, :] if link.of_groups else link.tensor


def _link_gradient(g: Tensor, h: Tensor, link: Link) -> Tensor:
    if link.diagonal:
        return (g * h).sum(1)
    # The shorter side first: on a CPU half the time, where a rank is small.
    return (h.mT @ g).mT if h.shape[-1] < g.shape[-1] else g.mT @ h


def _add_product(update: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return update + a·b, rounded once: W's product accumulates onto the update in float32 inside the kernel."""
    flat, rows = update.reshape(-1, update.shape[-1]), a.reshape(-1, a.shape[-1])
    # A compiler needs no such hint, and may lose what was changed in place.
    total = torch.addmm(flat, rows, b) if torch.compiler.is_compiling() else flat.addmm_(rows, b)
    return total.reshape(update.shape)


def _add_through(y: Tensor, h: Tensor, link: Link) -> Tensor:
    """Return y with what h gives, in y's own memory where nothing is traced."""
    if torch.compiler.is_compiling() or y.dtype != h.dtype:
        return (y + _through(h, link)).to(y.dtype)
    if link.diagonal:
        return y.addcmul_(h, _along(link))
    if link.of_groups:
        return y.baddbmm_(h, link.tensor.mT)
    y.view(-1, y.shape[-1]).addmm_(h.reshape(-1, h.shape[-1]), link.tensor.mT)
    return y


def _widths(link: Link) -> tuple[int, int]:
    """Return how wide a link's input and output are."""
    return link.tensor.shape[-1], link.tensor.shape[-1 if link.diagonal else -2]


def _require_fitting(x: Tensor, weight: Tensor | None, links: Sequence[Link]) -> None:
    widths = [_widths(link) for link in links]
    ends = [x.shape[-1], *(width for _, width in widths)]
    met = [width for width, _ in widths] + ([] if weight is None else [weight.shape[0]])
    groups = {link.tensor.shape[0] for link in links if link.of_groups}
    whole = weight is None or weight.shape[1] == x.shape[-1]
    if x.dim() != 3 or not links or ends[: len(met)] != met or groups - {x.shape[0]} or not whole:
        shapes = ", ".join(str(tuple(link.tensor.shape)) for link in links)
        raise VxlabError(
            f"x {tuple(x.shape)} and links {shapes} do not fit one another, or a weight of "
            f"{None if weight is None else tuple(weight.shape)}; they must be (G, N, in), (out, in) or (G, out, in) "
            "each, and (out, in)"
        )
