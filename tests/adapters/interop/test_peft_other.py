"""What vxlab's own families cannot say, held as the peft library's own method."""

from pathlib import Path

import peft
import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import loaded_by_peft, logits, save_trained

import vxlab

AT = {"target_modules": ["query", "value"]}
CASES = {
    "dora": peft.LoraConfig(r=4, use_dora=True, **AT),
    "ranks": peft.LoraConfig(r=4, rank_pattern={"value": 2}, alpha_pattern={"query": 3}, **AT),
    "a bias on B": peft.LoraConfig(r=4, lora_bias=True, **AT),
    "biases of the layers": peft.LoraConfig(r=4, bias="lora_only", **AT),
    "all biases": peft.LoraConfig(r=4, bias="all", **AT),
    "vera's biases": peft.VeraConfig(r=4, bias="vera_only", **AT),
    "tinylora": peft.TinyLoraConfig(r=2, **AT),
    "loha": peft.LoHaConfig(r=2, **AT),
    "fourierft": peft.FourierFTConfig(n_frequency=20, **AT),
    "ia3": peft.IA3Config(feedforward_modules=[], **AT),
}


@pytest.mark.parametrize("case", CASES)
def test_an_adapter_of_peft_gives_the_same_logits_here_and_is_saved_here(case: str, tmp_path: Path) -> None:
    save_trained(tmp_path, "bert", CASES[case])
    ours = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path)
    assert isinstance(ours.vxlab_attachment.method, vxlab.PEFT)
    expected = logits(ours, "bert")
    torch.testing.assert_close(expected, logits(loaded_by_peft("bert", tmp_path), "bert"), rtol=0, atol=1e-5)
    again = vxlab.load_adapter(ARCHITECTURES["bert"](), vxlab.save_adapter(ours, tmp_path / "ours"))
    assert torch.equal(logits(again, "bert"), expected)
