"""VeRA as the peft library saves it, with its matrices and with their seed alone."""

from pathlib import Path

import peft
import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import as_peft_warns, loaded_by_peft, logits, save_trained
from safetensors.torch import load_file, save_file

import vxlab
from vxlab.adapters import write_peft


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


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_projections_that_no_seed_draws_are_kept_as_given(name: str, tmp_path: Path) -> None:
    theirs = save_trained(tmp_path / "theirs", name, peft.VeraConfig(r=6, target_modules="all-linear"))
    with torch.no_grad(), as_peft_warns():
        theirs.base_model.vera_A["default"] += 1.0
        theirs.base_model.vera_B["default"] += 1.0
        theirs.save_pretrained(tmp_path / "theirs")
    ours = vxlab.load_adapter(ARCHITECTURES[name](), tmp_path / "theirs")
    assert ours.vxlab_attachment.method == vxlab.VeRA(rank=6, matrices="given")
    torch.testing.assert_close(logits(ours, name), logits(theirs, name), rtol=0, atol=1e-5)
    again = vxlab.load_adapter(ARCHITECTURES[name](), vxlab.save_adapter(ours, tmp_path / "ours"))
    assert torch.equal(logits(again, name), logits(ours, name))
    back = loaded_by_peft(name, write_peft(again, tmp_path / "back"))
    torch.testing.assert_close(logits(back, name), logits(theirs, name), rtol=0, atol=1e-5)


def test_projections_in_half_precision_are_kept_as_given(tmp_path: Path) -> None:
    save_trained(tmp_path, "bert", peft.VeraConfig(r=6, target_modules=["query"]))
    path = tmp_path / "adapter_model.safetensors"
    save_file({name: each.bfloat16() for name, each in load_file(path).items()}, path, metadata={"format": "pt"})
    ours = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path)
    assert ours.vxlab_attachment.method.matrices == "given"
    expected = logits(loaded_by_peft("bert", tmp_path), "bert")
    torch.testing.assert_close(logits(ours, "bert"), expected, rtol=0, atol=1e-5)


def test_no_model_is_given_matrices_but_from_a_folder() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"vxlab\.load_adapter\(model, folder\)"):
        vxlab.attach(ARCHITECTURES["bert"](), vxlab.VeRA(rank=4, matrices="given"))
    with pytest.raises(vxlab.VxlabError, match="draw no matrices that are given"):
        vxlab.VeRA(rank=4, matrices="given", seed=1)
