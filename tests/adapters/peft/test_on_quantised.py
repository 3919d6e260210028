"""Methods of the peft library on quantised layers: those that compute by W, and those that read packed numbers."""

from typing import Any

import pytest
import torch
from plain_models import Layers
from torch import Tensor, nn
from toy_quantised import quantised

import vxlab
from vxlab.adapters.core import float_linear, guard_kernels, quantisation_of
from vxlab.adapters.peft import method

pytest.importorskip("bitsandbytes")


def packed(scheme: str) -> Any:
    model: Any = Layers(lin0=nn.Linear(64, 64))  # which draws the weight anew, the same one every time
    model.lin0 = quantised(model.lin0, scheme)
    guard_kernels(model.requires_grad_(False))
    return model


def unpacked(scheme: str) -> Any:
    model = packed(scheme)
    model.lin0 = float_linear(model.lin0, torch.float32)
    return model


def outputs(model: nn.Module, given: vxlab.PEFT) -> Tensor:
    """Put a method on, move all that trains, and return what the model then answers."""
    torch.manual_seed(1)
    vxlab.attach(model, given, "lin0").eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    found: Tensor = model(torch.randn(5, 64, generator=torch.Generator().manual_seed(3)))
    return found.detach()


SOUND: list[tuple[str, dict[str, Any]]] = [
    ("lora", {"r": 4}), ("dora", {"r": 4}), ("vera", {"r": 8}), ("ia3", {}), ("oft", {"oft_block_size": 4}),
    ("boft", {"boft_block_size": 4}), ("randlora", {"r": 8}), ("shira", {"r": 4}), ("miss", {"r": 4}),
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["nf4", "int8"])  # of torchao's, peft takes those in transformers' models alone
@pytest.mark.parametrize(("config", "settings"), SOUND, ids=[name for name, _ in SOUND])
def test_a_method_computes_what_it_does_on_the_dequantised_weight(
    config: str, settings: dict[str, Any], scheme: str
) -> None:
    given = vxlab.PEFT(config, settings)
    torch.testing.assert_close(outputs(packed(scheme), given), outputs(unpacked(scheme), given), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "settings", "scheme", "message"),
    [
        ("hra", {"r": 4}, "int8", "peft does not compute it by what the packed weights stand for"),
        ("peanut", {"r": 4}, "int8", "peft does not compute it by what the packed weights stand for"),
        ("deft", {"r": 4}, "int8", "peft does not compute it by what the packed weights stand for"),
        ("unilora", {"r": 4}, "nf4", "peft does not compute it by what the packed weights stand for"),
        ("loha", {"r": 4}, "nf4", "peft says mat1 and mat2 shapes cannot be multiplied"),
        ("c3a", {"block_size": 32}, "nf4", "peft says .* is being modified inplace"),
    ],
)
def test_a_method_that_reads_packed_numbers_is_refused(
    config: str, settings: dict[str, Any], scheme: str, message: str
) -> None:
    model = packed(scheme)
    layer, x = model.lin0, torch.randn(3, 64)
    before, state = model(x), torch.get_rng_state()
    with pytest.raises(vxlab.VxlabError, match=f"on a base quantised by {scheme}: {message}"):
        vxlab.attach(model, vxlab.PEFT(config, settings), "lin0")
    assert model.lin0 is layer
    assert quantisation_of(model.lin0)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model(x), before)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_check_draws_no_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    for check in (True, False):
        if not check:
            monkeypatch.setattr(method, "check_on_quantised", lambda *given: None)
        torch.manual_seed(4)
        vxlab.attach(packed("nf4"), vxlab.PEFT("lora", r=4), "lin0")
        states.append(torch.get_rng_state())
    assert torch.equal(*states)
