"""Let a model write: batches of prompts padded on the left, decoded as a run's spec says."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from vxlab.experiments import RunSpec

WRITTEN_AT_ONCE = 16
"""Prompts written to at a time."""


def write_texts(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    spec: "RunSpec",
    end: int,
    precision: str = "float32",
    done: Callable[[int], object] = lambda texts: None,
) -> list[str]:
    """Return what a model writes to each prompt, without what begins and ends it, in their order.

    Prompts of like length share a batch, padded on the left, so that padding is little and changes nothing.

    Args:
        model: a causal language model, in evaluation mode.
        tokenizer: its own, with a padding token.
        prompts: token ids, one or more each.
        spec: whose ``max_new_tokens``, ``num_beams``, ``length_penalty`` and ``no_repeat_ngram_size`` count.
        end: the token that ends an answer, beside the end of a text.
        precision: ``float32``, or ``bfloat16`` or ``float16`` by autocast.
        done: told how many texts more were written.
    """
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    device, dtype = next(model.parameters()).device, getattr(torch, precision)
    texts = [""] * len(prompts)
    for start in range(0, len(order), WRITTEN_AT_ONCE):
        chosen = order[start : start + WRITTEN_AT_ONCE]
        batch = pad_left([prompts[number] for number in chosen], tokenizer.pad_token_id)
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=precision != "float32"):
            written: Any = model.generate(  # type: ignore[operator]
                **batch,
                generation_config=_decoding(spec, tokenizer, end),
                logits_processor=_without_repeats(spec.no_repeat_ngram_size, batch["input_ids"].shape[1]),
            )
        answers = written[:, batch["input_ids"].shape[1] :]
        for number, text in zip(chosen, tokenizer.batch_decode(answers, skip_special_tokens=True), strict=True):
            texts[number] = text.strip()
        done(len(chosen))
    return texts


def pad_left(prompts: Sequence[Sequence[int]], pad: int) -> dict[str, Tensor]:
    """Return ``input_ids`` and ``attention_mask`` (prompts, tokens), with the prompts' ends side by side."""
    most = max(map(len, prompts))
    ids = torch.tensor([[pad] * (most - len(each)) + list(each) for each in prompts])
    mask = torch.tensor([[0] * (most - len(each)) + [1] * len(each) for each in prompts])
    return {"input_ids": ids, "attention_mask": mask}


def _decoding(spec: "RunSpec", tokenizer: Any, end: int) -> Any:
    from transformers import GenerationConfig

    ends = {end, tokenizer.eos_token_id} - {None}
    return GenerationConfig(
        max_new_tokens=spec.max_new_tokens,
        num_beams=spec.num_beams,
        length_penalty=spec.length_penalty if spec.num_beams > 1 else None,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=sorted(ends),
    )


def _without_repeats(size: int, prompt: int) -> Any:
    """Let no n-gram of a size be written twice; transformers' own setting forbids those of the prompt, too."""
    from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor

    if not size:
        return LogitsProcessorList()
    forbid = NoRepeatNGramLogitsProcessor(size)
    return LogitsProcessorList([lambda ids, scores: forbid(ids[:, prompt:], scores)])
