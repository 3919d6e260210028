"""LoRA as the peft library saves it, read onto the same base."""

from pathlib import Path

import peft
import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import loaded_by_peft, logits, save_trained

import vxlab

CASES = {
    "plain": ({}, vxlab.LoRA(rank=4, alpha=8)),
    "rank-stabilised": ({"use_rslora": True}, vxlab.LoRA(rank=4, alpha=8, rank_stabilised=True)),
    "dropout": ({"lora_dropout": 0.25}, vxlab.LoRA(rank=4, alpha=8, dropout=0.25)),
    "gaussian start": ({"init_lora_weights": "gaussian"}, vxlab.LoRA(rank=4, alpha=8)),
    "orthogonal start": ({"init_lora_weights": "orthogonal"}, vxlab.LoRA(rank=4, alpha=8)),
    "one scale in patterns": ({"alpha_pattern": {".*": 6}}, vxlab.LoRA(rank=4, alpha=6)),
}


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "llama", "vit"])
@pytest.mark.parametrize("case", CASES)
def test_a_lora_of_peft_gives_the_same_logits_here(name: str, case: str, tmp_path: Path) -> None:
    settings, method = CASES[case]
    save_trained(tmp_path, name, peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", **settings))
    ours = vxlab.load_adapter(ARCHITECTURES[name](), tmp_path)
    assert ours.vxlab_attachment.method == method
    torch.testing.assert_close(logits(ours, name), logits(loaded_by_peft(name, tmp_path), name), rtol=0, atol=1e-5)
