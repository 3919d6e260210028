"""What is written, against a loop of one's own."""

import pytest
import torch
import toy_writers

from vxlab.experiments.models import load_model, load_tokenizer
from vxlab.experiments.models.decoding import write_texts

PROMPTS = ("name[Aromi], area", "name")


@pytest.mark.parametrize("size", [0, 1, 2])
def test_greedy_writing_repeats_no_ngram_of_its_own_and_may_use_the_prompts(size: int, tiny_writer: str) -> None:
    model, tokenizer = load_model(tiny_writer, 0), load_tokenizer(tiny_writer)
    prompts = [tokenizer(text)["input_ids"] for text in PROMPTS]
    spec = toy_writers.spec(tiny_writer, "none", no_repeat_ngram_size=size)
    found = write_texts(model, tokenizer, prompts, spec, tokenizer.eos_token_id)
    alone = [_written(model, prompt, size, spec.max_new_tokens, tokenizer.eos_token_id) for prompt in prompts]
    assert found == [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in alone]
    assert any(set(ids) & set(prompt) for ids, prompt in zip(alone, prompts, strict=True))


@torch.no_grad()
def _written(model: torch.nn.Module, prompt: list[int], size: int, most: int, end: int) -> list[int]:
    ids: list[int] = []
    while len(ids) < most and end not in ids:
        order = model(input_ids=torch.tensor([prompt + ids])).logits[0, -1].argsort(descending=True).tolist()
        ids.append(next(token for token in order if not size or not _repeats([*ids, token], size)))
    return ids


def _repeats(ids: list[int], size: int) -> bool:
    ngrams = [tuple(ids[at : at + size]) for at in range(len(ids) - size + 1)]
    return len(set(ngrams)) < len(ngrams)
