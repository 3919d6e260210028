"""Dropout by slot: each part's masks are what torch would draw for it alone, and filling is left as it is."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from vxlab import VxlabError
from vxlab.experiments.stacking.noise import SlotNoise, SlotRows

ROWS, TOKENS = 3, 5
OWN = ((2, 5), (3, 4))
"""rows and tokens of each part"""


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(number) for number in range(len(OWN))]


def noise(left: bool = False) -> SlotNoise:
    parts = [SlotRows(generator, *own) for generator, own in zip(generators(), OWN, strict=True)]
    return SlotNoise(parts, ROWS, TOKENS, left)


def parts_of(tensor: torch.Tensor, dimensions: tuple[int, ...], left: bool = False) -> list[torch.Tensor]:
    """Return every part's own rows and tokens."""
    found = []
    for number, (rows, tokens) in enumerate(OWN):
        part = tensor[number * ROWS : number * ROWS + rows]
        for dimension in dimensions:
            part = part.narrow(dimension, TOKENS - tokens if left else 0, tokens)
        found.append(part)
    return found


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "dimensions"),
    [((6, 8), ()), ((6, 5, 8), (1,)), ((6, 2, 5, 5), (2, 3))],
    ids=["pooled", "states", "heads"],
)
def test_masks_are_those_of_each_part_alone(
    shape: tuple[int, ...], dimensions: tuple[int, ...], dtype: torch.dtype, left: bool
) -> None:
    x = torch.randn(shape).to(dtype)
    with noise(left):
        masked = functional.dropout(x, 0.3, training=True)
        assert functional.dropout(x, 0.3, training=False) is x
    for number, (own, given) in enumerate(
        zip(parts_of(masked, dimensions, left), parts_of(x, dimensions, left), strict=True)
    ):
        torch.manual_seed(number)
        assert torch.equal(own, functional.dropout(given.contiguous(), 0.3, training=True))
    assert torch.equal(masked[2], x[2])  # filling


def test_attention_is_torchs_own() -> None:
    torch.manual_seed(9)
    query, key, value = (torch.randn(6, 2, TOKENS, 4) for _ in range(3))
    bias = torch.zeros(6, 1, TOKENS, TOKENS)
    bias[3:, :, :, 4:] = -torch.inf
    with noise():
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=0.3)
    for number, (rows, tokens) in enumerate(OWN):
        own = [each[number * ROWS : number * ROWS + rows, :, :tokens] for each in (query, key, value)]
        torch.manual_seed(number)
        wanted = functional.scaled_dot_product_attention(*own, dropout_p=0.3)
        torch.testing.assert_close(found[number * ROWS : number * ROWS + rows, :, :tokens], wanted)


@pytest.mark.parametrize("additive", [False, True])
def test_what_may_look_at_nothing_gets_nothing_and_spoils_no_gradient(additive: bool) -> None:
    # In a causal model padding before a text sees neither itself nor what follows.
    torch.manual_seed(9)
    query, key, value = (torch.randn(2, 2, TOKENS, 4, requires_grad=True) for _ in range(3))
    seen = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril() & (torch.arange(TOKENS) > 1)
    mask = torch.zeros(TOKENS, TOKENS).masked_fill(~seen, -torch.inf) if additive else seen
    with SlotNoise([SlotRows(torch.Generator().manual_seed(3), 2, TOKENS)], 2, TOKENS):
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=0.4)
    torch.manual_seed(3)
    wanted = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=0.4)
    torch.testing.assert_close(found, wanted)
    for one, other in zip(
        *(torch.autograd.grad(each.sum(), (query, key, value)) for each in (found, wanted)), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("grouped", [False, True])
def test_causal_and_grouped_attention_too(grouped: bool) -> None:
    torch.manual_seed(9)
    query, (key, value) = torch.randn(2, 4, 5, 4), (torch.randn(2, 2 if grouped else 4, 5, 4) for _ in range(2))
    single = SlotNoise([SlotRows(torch.Generator().manual_seed(3), 2, 5)], 2, 5)
    more: dict[str, Any] = {"is_causal": True, "dropout_p": 0.4, "enable_gqa": grouped, "scale": 0.3}
    with single:
        found = functional.scaled_dot_product_attention(query, key, value, **more)
    torch.manual_seed(3)
    torch.testing.assert_close(found, functional.scaled_dot_product_attention(query, key, value, **more))


def test_an_adapters_own_mask_is_the_parts_own() -> None:
    x = torch.randn(2, ROWS * TOKENS, 8)
    mask = noise().draw_mask(x, torch.tensor([0.7, 1.0]))
    torch.manual_seed(0)
    wanted = torch.empty(2, 5, 8, dtype=torch.bool).bernoulli_(0.7)
    assert torch.equal(mask[0].view(ROWS, TOKENS, 8)[:2], wanted)
    assert mask[0].view(ROWS, TOKENS, 8)[2].all()
    assert mask[1].all()


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: torch.rand_like(x),
        lambda x: x.new_empty(3).bernoulli_(0.5),
        lambda x: functional.alpha_dropout(x, 0.5, training=True),
        lambda x: torch.randn(3),
    ],
)
def test_other_draws_are_refused(draw: Any) -> None:
    with noise(), pytest.raises(VxlabError, match="every slot would need its own"):
        draw(torch.ones(6, 5, 8))


def test_what_has_no_rows_of_the_batch_is_refused() -> None:
    with noise(), pytest.raises(VxlabError, match="no row can be told whose it is"):
        functional.dropout(torch.ones(30, 8), 0.5, training=True)
