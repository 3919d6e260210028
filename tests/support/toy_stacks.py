"""Tiny models with stacked adapters whose every tensor has moved from its start, and batches for their slots."""

from collections.abc import Sequence

import torch
from architectures import ARCHITECTURES
from torch import Tensor, nn

import vxlab
from vxlab.adapters import Method
from vxlab.adapters.stacked import Stack, stack_adapters

VOCABULARY, PAD = 64, 0


def stacked(methods: Sequence[Method], name: str = "bert", targets: str = "all-linear", spread: float = 0.1) -> Stack:
    """Return a stack on a tiny model, each slot with other values."""
    torch.manual_seed(0)
    stack = stack_adapters(ARCHITECTURES[name](), methods, targets)
    for slot in range(1, len(methods) + 1):
        scatter(stack, slot, spread)
    return stack


def scatter(stack: Stack, slot: int, spread: float = 0.1) -> None:
    """Draw one slot's values, by the slot's own seed."""
    generator = torch.Generator().manual_seed(slot)
    values = {
        name: torch.randn(each.shape, generator=generator).to(each) * spread for name, each in stack.take(slot).items()
    }
    stack.put(slot, values)


def batch(rows: int, tokens: int = 7, seed: int = 1) -> dict[str, Tensor]:
    """Return a batch of texts, every other one padded."""
    ids = torch.randint(3, VOCABULARY, (rows, tokens), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[1::2, tokens - 2 :] = 0
    return {"input_ids": ids.masked_fill(mask == 0, PAD), "attention_mask": mask}


def part(given: dict[str, Tensor], slot: int, slots: int) -> dict[str, Tensor]:
    """Return the rows of one slot in a batch of equal parts."""
    return {name: each.chunk(slots)[slot - 1] for name, each in given.items()}


def loss(model: nn.Module, given: dict[str, Tensor], slots: int) -> Tensor:
    """Return the sum of the slots' own means of squared logits."""
    return model(**given).logits.float().square().reshape(slots, -1).mean(1).sum()


def gradients(stack: Stack, given: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return every slot's gradients by name, in the slot's own sizes."""
    stack.model.zero_grad()
    loss(stack.model, given, len(stack.methods)).backward()
    found = {name: each.grad for name, each in stack.parameters().items()}
    return [
        {name: found[name][slot - 1][tuple(map(slice, each.shape))].clone() for name, each in stack.take(slot).items()}
        for slot in range(1, len(stack.methods) + 1)
    ]


def alone(stack: Stack, slot: int, given: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the logits and the gradients of one slot's adapter, alone on the model as ``attach`` puts it there."""
    with stack.single(slot) as model:
        model.zero_grad()
        own = part(given, slot, len(stack.methods))
        logits = model(**own).logits
        logits.float().square().mean().backward()
        grads = {name: each.grad.clone() for name, each in model.named_parameters() if each.requires_grad}
        assert vxlab.trainable_parameters(model).backbone == sum(
            grads[name].numel() for name in grads if not name.startswith(("classifier", "score"))
        )
        return logits.detach(), grads
