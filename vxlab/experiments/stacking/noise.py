"""Dropout for stacked runs: every slot's masks come from its own generator, as a run alone would draw them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vxlab.errors import VxlabError


class SlotRows(NamedTuple):
    """The rows of one slot in a batch of equal parts."""

    generator: torch.Generator
    rows: int
    """of its own; the part's others are filling"""
    tokens: int
    """in its own longest text; what lies beyond is filling. As many as all have where there is none, as of images"""


class SlotNoise(TorchFunctionMode):
    """Within this context dropout masks a batch part by part, each from its own generator.

    A part's mask has the shape that a batch of its rows alone would have, so that the numbers drawn are those of a run
    alone; the filling is left as it is. On a CPU masks are drawn as torch draws them there.

    Args:
        parts: of the batch, in their order.
        rows: of each part, filling included.
        tokens: of every row, filling included.
        left: whether the filling stands before the tokens.

    Raises:
        VxlabError: inside, where the model draws random numbers in another way, or masks what has
            no place for the batch's rows: a slot would then meet other slots' draws.
    """

    def __init__(self, parts: Sequence[SlotRows], rows: int, tokens: int, left: bool = False) -> None:
        super().__init__()
        self.parts, self.rows, self.tokens, self.left = parts, rows, tokens, left

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.dropout:
            return self._dropout(*args, **kwargs)
        if func is functional.scaled_dot_product_attention and _attention_dropout(args, kwargs):
            return self._attention(*args, **kwargs)
        if func in _DRAWS and kwargs.get("generator") is None:
            raise VxlabError(
                f"the model draws random numbers by torch's {getattr(func, '__name__', func)} while it trains, and "
                "every slot would need its own; train its runs one after the other"
            )
        return func(*args, **kwargs)

    def draw_mask(self, x: Tensor, keep: Tensor) -> Tensor:
        """Return what an adapter's own dropout leaves of its input ``(G, rows·tokens, in)``, for ``Slots``."""
        mask = torch.ones(x.shape, dtype=torch.bool, device=x.device)
        own = mask.view(len(self.parts), self.rows, -1, x.shape[-1])
        for place, (part, share) in enumerate(zip(self.parts, keep.tolist(), strict=True)):
            if share < 1:
                there = self._own_tokens(own[place, : part.rows], 1, part)
                drawn = torch.empty(there.shape, dtype=torch.bool, device=x.device)
                there.copy_(drawn.bernoulli_(share, generator=part.generator))
        return mask

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return input
        masked = input * self._noise(input, p) if p < 1 else torch.zeros_like(input)
        return input.copy_(masked) if inplace else masked

    def _noise(self, like: Tensor, p: float) -> Tensor:
        """Return 0 or 1/(1 - p) in the place of every number of the parts' own, and 1 elsewhere."""
        if like.dim() < 2 or like.shape[0] != len(self.parts) * self.rows:
            raise VxlabError(
                f"dropout on {tuple(like.shape)}, whose first dimension is not the batch's {len(self.parts)} × "
                f"{self.rows} rows: no row can be told whose it is; train these runs one after the other"
            )
        noise = torch.ones_like(like)
        for place, part in enumerate(self.parts):
            own = noise[place * self.rows : place * self.rows + part.rows]
            for dimension in _token_dimensions(like.dim()):
                if like.shape[dimension] == self.tokens:
                    own = self._own_tokens(own, dimension, part)
            drawn = own if own.is_contiguous() else torch.empty(own.shape, dtype=like.dtype, device=like.device)
            drawn.bernoulli_(1 - p, generator=part.generator).div_(1 - p)
            if drawn is not own:
                own.copy_(drawn)
        return noise

    def _own_tokens(self, tensor: Tensor, dimension: int, part: SlotRows) -> Tensor:
        if part.tokens == self.tokens:  # nothing was filled up
            return tensor
        return tensor.narrow(dimension, self.tokens - part.tokens if self.left else 0, part.tokens)

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Attention as torch's own plain implementation computes it, but for whence its mask is."""
        if enable_gqa:
            repeats = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
        wide = torch.promote_types(query.dtype, torch.float32)
        root = math.sqrt(scale if scale is not None else 1 / math.sqrt(query.shape[-1]))
        with torch.autocast(query.device.type, enabled=False):
            scores = (query.to(wide) * root) @ (key.to(wide) * root).mT
            if is_causal:
                later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
                scores = scores.masked_fill(later, -math.inf)
            if attn_mask is not None:
                is_bool = attn_mask.dtype == torch.bool
                scores = scores.masked_fill(~attn_mask, -math.inf) if is_bool else scores + attn_mask
            blind = scores.isneginf().all(-1, keepdim=True)  # such as padding before a text, in a causal model
            weights = scores.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0)
            return (weights * self._noise(weights, dropout_p) @ value.to(wide)).to(query.dtype)


def _token_dimensions(dimensions: int) -> tuple[int, ...]:
    """Return where tokens lie: in hidden states ``(batch, tokens, width)``, in attention ``(batch, heads, tokens,
    tokens)``, and nowhere in what is pooled."""
    return {3: (1,), 4: (2, 3)}.get(dimensions, ())


def _attention_dropout(args: Any, kwargs: Any) -> float:
    return float(args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0))


_DRAWS: set[Callable[..., Any]] = {
    torch.rand, torch.rand_like, torch.randn, torch.randn_like, torch.randint, torch.randperm, torch.bernoulli,
    torch.multinomial, torch.normal, torch.dropout, torch.alpha_dropout, torch.feature_dropout,
    torch.Tensor.bernoulli_, torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.random_,
    functional.alpha_dropout, functional.feature_alpha_dropout, functional.dropout1d, functional.dropout2d,
    functional.dropout3d, functional.gumbel_softmax, functional.rrelu,
}  # fmt: skip
