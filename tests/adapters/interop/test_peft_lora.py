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


BY_LAYER = {
    "one alpha": ({"rank_pattern": {".*1.*": 2}}, {"alpha": 8}),
    "alphas as ranks": ({"rank_pattern": {".*1.*": 2}, "alpha_pattern": {".*1.*": 2}, "lora_alpha": 4}, {}),
    "rank-stabilised": ({"rank_pattern": {".*1.*": 2}, "use_rslora": True}, {"alpha": 8, "rank_stabilised": True}),
    "other alphas": ({"rank_pattern": {".*1.*": 2}, "alpha_pattern": {".*1.*": 4}}, None),
    "other alphas alone": ({"alpha_pattern": {".*1.*": 4}}, None),
    "biases": ({"rank_pattern": {".*1.*": 2}, "bias": "lora_only"}, None),
    "dora": ({"rank_pattern": {".*1.*": 2}, "use_dora": True}, None),
}


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize("case", BY_LAYER)
def test_ranks_of_peft_are_ranks_by_layer_where_one_alpha_says_the_scales(name: str, case: str, tmp_path: Path) -> None:
    settings, ours = BY_LAYER[case]
    config = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **settings}
    theirs = save_trained(tmp_path, name, peft.LoraConfig(**config))  # type: ignore[arg-type]
    model = vxlab.load_adapter(ARCHITECTURES[name](), tmp_path)
    method = model.vxlab_attachment.method
    ranks = {layer: 2 if ".1." in layer else 4 for layer in model.vxlab_attachment.layers}
    if ours is None:  # which only peft's own says
        assert method.name in ("peft:lora", "peft:dora")
    else:
        assert method == vxlab.LoRA(rank=ranks, **ours)
    torch.testing.assert_close(logits(model, name), logits(theirs, name), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "llama", "vit"])
@pytest.mark.parametrize("case", CASES)
def test_a_lora_of_peft_gives_the_same_logits_here(name: str, case: str, tmp_path: Path) -> None:
    settings, method = CASES[case]
    save_trained(tmp_path, name, peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", **settings))
    ours = vxlab.load_adapter(ARCHITECTURES[name](), tmp_path)
    assert ours.vxlab_attachment.method == method
    torch.testing.assert_close(logits(ours, name), logits(loaded_by_peft(name, tmp_path), name), rtol=0, atol=1e-5)
