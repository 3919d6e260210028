"""How likely a model finds the answers of a batch: log-probabilities of their tokens, and the loss."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.experiments.tasks.kinds.answers import IGNORED


def answer_loss(
    model: nn.Module, batch: Mapping[str, Tensor], tokens: Tensor | int | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return Σ -log p over the answers' tokens, divided by how many they are.

    With label smoothing ε the loss of a token is (1 - ε)·(-log p) + ε·mean over the vocabulary of -log p.

    Args:
        model: a causal language model.
        batch: from :func:`~vxlab.experiments.tasks.kinds.answers.collate_answers`.
        tokens: to divide by, where the batch is part of a step's; None takes the batch's own.
        smoothing: ε, from 0 to below 1.
    """
    logits, labels, _ = _of_answers(model, batch)
    total = nn.functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
    return total / (len(labels) if tokens is None else tokens)


def answer_log_likelihoods(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Return (rows, 2): Σ log p of the tokens of each row's answer, and how many they are.

    In float64, but for Apple's GPUs, which have none.

    Args:
        model: a causal language model.
        batch: padded, from :func:`~vxlab.experiments.tasks.kinds.answers.collate_answers`.
    """
    logits, labels, rows = _of_answers(model, batch)
    dtype = torch.float32 if logits.device.type == "mps" else torch.float64
    each = -nn.functional.cross_entropy(logits, labels, reduction="none").to(dtype)
    sums = torch.zeros(len(batch["input_ids"]), 2, dtype=dtype, device=each.device)
    return sums.index_add_(0, rows, torch.stack([each, torch.ones_like(each)], dim=1))


def _of_answers(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return (n, vocabulary) logits before each of the n answer tokens, the tokens, and the row of each."""
    following = batch["labels"][:, 1:]
    answered = following != IGNORED
    # With a cache, which is the default, transformers overlooks that packed rows end: each would see those before it.
    inputs: dict[str, Any] = {name: tensor for name, tensor in batch.items() if name != "labels"} | {"use_cache": False}
    if keeps_some(model):  # the head's product is the dearest of all, and prompts need none
        kept = answered.any(0).nonzero()[:, 0]
        logits, following, answered = model(**inputs, logits_to_keep=kept).logits, following[:, kept], answered[:, kept]
    else:
        logits = model(**inputs).logits[:, :-1]
    chosen: Tensor = logits[answered]
    return chosen if chosen.dtype == torch.float64 else chosen.float(), following[answered], answered.nonzero()[:, 0]


def keeps_some(model: nn.Module) -> bool:
    """Say whether a model can be asked for the logits of some positions alone."""
    inner = getattr(model, "module", model)
    return "logits_to_keep" in inspect.signature(inner.forward).parameters
