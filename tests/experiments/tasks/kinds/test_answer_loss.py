"""Losses on answers against a plain loop in float64, on four architectures."""

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from vxlab.experiments.tasks.kinds.answer_loss import answer_log_likelihoods, answer_loss
from vxlab.experiments.tasks.kinds.answers import IGNORED, collate_answers
from vxlab.experiments.tasks.kinds.kind import Form

SIZES = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "head_dim": 8,
}  # fmt: skip
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "gpt2": GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "qwen2": Qwen2Config(**SIZES),
    "gemma": GemmaConfig(**SIZES),
}


class Tokenizer:
    pad_token_id = 0


@pytest.fixture(params=CONFIGS, scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    config: PreTrainedConfig = CONFIGS[request.param]
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).double().eval()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, list[int]]]:
    draw = torch.Generator().manual_seed(1)
    made = []
    for prompt, answer in ((5, 3), (1, 7), (9, 1), (3, 4)):
        ids = torch.randint(1, 97, (prompt + answer,), generator=draw).tolist()
        made.append({"input_ids": ids, "labels": [IGNORED] * prompt + ids[prompt:]})
    return made


def by_a_loop(model: nn.Module, row: dict[str, list[int]]) -> Tensor:
    """Return Σ log p and the number of answer tokens, one forward pass for each token."""
    total, count = 0.0, 0
    for place, label in enumerate(row["labels"]):
        if label != IGNORED:
            logits = model(input_ids=torch.tensor([row["input_ids"][:place]])).logits[0, -1]
            total, count = total + float(torch.log_softmax(logits, 0)[label]), count + 1
    return torch.tensor([total, count], dtype=torch.float64)


@torch.no_grad()
def test_batched_alone_and_packed_are_a_plain_loop(model: nn.Module, rows: list[dict[str, list[int]]]) -> None:
    expected = torch.stack([by_a_loop(model, row) for row in rows])
    pad, pack = (collate_answers(Tokenizer, Form(packing=packing)) for packing in (False, True))
    torch.testing.assert_close(answer_log_likelihoods(model, pad(rows)), expected, rtol=1e-6, atol=1e-6)
    alone = torch.cat([answer_log_likelihoods(model, pad([row])) for row in rows])
    torch.testing.assert_close(alone, expected, rtol=1e-6, atol=1e-6)
    mean = -expected[:, 0].sum() / expected[:, 1].sum()
    for collate in (pad, pack):
        torch.testing.assert_close(answer_loss(model, collate(rows)), mean, rtol=1e-6, atol=1e-6)
    whole = answer_log_likelihoods(model, pack(rows))
    torch.testing.assert_close(whole[0], expected.sum(0), rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_padding_on_the_left_changes_nothing(model: nn.Module, rows: list[dict[str, list[int]]]) -> None:
    right = collate_answers(Tokenizer, Form())(rows)
    turned = {name: tensor.flip(1) for name, tensor in right.items()}
    lengths = right["attention_mask"].sum(1)
    for row, length in enumerate(lengths.tolist()):
        for tensor in turned.values():
            tensor[row, -length:] = tensor[row, -length:].flip(0)
    turned["position_ids"] = (turned["attention_mask"].cumsum(1) - 1).clamp_min(0)
    found = answer_log_likelihoods(model, turned)
    torch.testing.assert_close(found, answer_log_likelihoods(model, right), rtol=1e-6, atol=1e-6)


def test_gradients_of_packed_and_padded_batches_agree(model: nn.Module, rows: list[dict[str, list[int]]]) -> None:
    gradients = []
    for packing in (False, True):
        model.zero_grad()
        answer_loss(model, collate_answers(Tokenizer, Form(packing=packing))(rows), smoothing=0.1).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)


@torch.no_grad()
def test_label_smoothing_is_its_formula(model: nn.Module, rows: list[dict[str, list[int]]]) -> None:
    batch = collate_answers(Tokenizer, Form())(rows)
    logs = torch.log_softmax(model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1], -1)
    labels = batch["labels"][:, 1:]
    own = labels != IGNORED
    chosen = logs[own].gather(1, labels[own][:, None])[:, 0]
    expected = (0.8 * -chosen + 0.2 * -logs[own].mean(-1)).sum() / 5
    torch.testing.assert_close(answer_loss(model, batch, tokens=5, smoothing=0.2), expected, rtol=1e-9, atol=0)
