"""An adapter of the peft library's on a quantised base: as on a plain base that holds the dequantised weights."""

from pathlib import Path

import peft
import pytest
import torch
from foreign_folders import as_peft_warns, move
from plain_models import Layers
from torch import Tensor, nn
from toy_quantised import quantised

import vxlab
from vxlab.adapters import write_peft
from vxlab.adapters.core.frozen_weight import linear_weight

LAYERS = {"lin0": (64, 128), "lin1": (128, 64)}


def plain() -> nn.Module:
    return Layers(**{name: nn.Linear(*sizes) for name, sizes in LAYERS.items()})


def packed(scheme: str) -> nn.Module:
    model = plain()
    for name in LAYERS:
        model.set_submodule(name, quantised(model.get_submodule(name), scheme))
    return model.requires_grad_(False)


@torch.no_grad()
def unpacked(scheme: str) -> nn.Module:
    model = plain()
    for name, layer in packed(scheme).named_children():
        model.get_submodule(name).weight.copy_(linear_weight(layer))
    return model


@torch.no_grad()
def outputs(model: nn.Module) -> Tensor:
    found: Tensor = model.eval()(torch.randn(5, 64, generator=torch.Generator().manual_seed(7)))
    return found


@pytest.mark.parametrize("scheme", ["nf4", "int8", "torchao-int8"])
@pytest.mark.parametrize("kind", ["lora", "vera"])
def test_it_is_read_and_written_as_on_the_dequantised_weights(scheme: str, kind: str, tmp_path: Path) -> None:
    config = {"lora": peft.LoraConfig, "vera": peft.VeraConfig}[kind](r=4, target_modules=list(LAYERS))
    with as_peft_warns():
        theirs = peft.get_peft_model(unpacked(scheme), config)
        move(theirs)
        theirs.save_pretrained(tmp_path / "theirs")
    ours = vxlab.load_adapter(packed(scheme), tmp_path / "theirs")
    torch.testing.assert_close(outputs(ours), outputs(theirs), rtol=1e-5, atol=1e-4)
    for as_lora in (False, True):
        write_peft(ours, tmp_path / str(as_lora), as_lora=as_lora)
        with as_peft_warns():
            back = peft.PeftModel.from_pretrained(unpacked(scheme), tmp_path / str(as_lora))
        torch.testing.assert_close(outputs(back), outputs(theirs), rtol=1e-5, atol=1e-4)
