"""VeRA as the peft library saves it, with its matrices and with their seed alone."""

from pathlib import Path

import peft
import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import as_peft_warns, loaded_by_peft, logits, save_trained

import vxlab


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "llama", "vit"])
@pytest.mark.parametrize("stored", [True, False])
def test_a_vera_of_peft_gives_the_same_logits_here(name: str, stored: bool, tmp_path: Path) -> None:
    with as_peft_warns():
        config = peft.VeraConfig(
            r=6, target_modules="all-linear", projection_prng_key=5, save_projection=stored, vera_dropout=0.1
        )
    save_trained(tmp_path, name, config)
    ours = vxlab.load_adapter(ARCHITECTURES[name](), tmp_path)
    assert ours.vxlab_attachment.method == vxlab.VeRA(rank=6, seed=5, dropout=0.1)
    torch.testing.assert_close(logits(ours, name), logits(loaded_by_peft(name, tmp_path), name), rtol=0, atol=1e-5)
