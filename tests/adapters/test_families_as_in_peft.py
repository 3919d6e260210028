"""PEFT as an oracle: the same tensors give the same logits and gradients."""

import peft
import pytest
import torch
from architectures import ARCHITECTURES, LAYERS, inputs
from torch import nn

import vxlab

# PEFT asks transformers for a property that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

NAMES = ["bert", "roberta", "gpt2", "llama"]


def pair(name: str, method: vxlab.adapters.Family, config: peft.PeftConfig) -> tuple[nn.Module, nn.Module]:
    """Return our model and PEFT's, with the same random values in the trained tensors."""
    ours = vxlab.attach(ARCHITECTURES[name](), method, targets="all-linear").eval()
    theirs = peft.get_peft_model(ARCHITECTURES[name](), config).eval()
    torch.manual_seed(2)
    names = {
        "A": "lora_A.default.weight",
        "B": "lora_B.default.weight",
        "lambda_b": "vera_lambda_b.default",
        "lambda_d": "vera_lambda_d.default",
    }
    with torch.no_grad():
        for path, layer in vxlab.adapted_layers(ours).items():
            for key, tensor in layer.trained_tensors().items():
                tensor.copy_(torch.randn_like(tensor) * 0.1)
                theirs.get_parameter(f"base_model.model.{path}.{names[key]}").copy_(tensor)
    return ours, theirs


def assert_agree(name: str, ours: nn.Module, theirs: nn.Module) -> None:
    mine, oracle = ours(**inputs(name)).logits, theirs(**inputs(name)).logits
    torch.testing.assert_close(mine, oracle, rtol=0, atol=1e-5)
    mine.square().sum().backward()
    oracle.square().sum().backward()
    compared = 0
    for path, layer in vxlab.adapted_layers(ours).items():
        wrapped = theirs.get_submodule(f"base_model.model.{path}")
        for key, tensor in layer.trained_tensors().items():
            parameter = {
                "A": lambda w: w.lora_A["default"].weight,
                "B": lambda w: w.lora_B["default"].weight,
                "lambda_b": lambda w: w.vera_lambda_b["default"],
                "lambda_d": lambda w: w.vera_lambda_d["default"],
            }[key](wrapped)
            assert (tensor.grad - parameter.grad).norm() <= 1e-4 * parameter.grad.norm()
            compared += 1
    assert compared == 2 * len(vxlab.adapted_layers(ours)) > 0


def target_modules(name: str) -> list[str]:
    return [f"{LAYERS[name][0]}.{block}.{layer}" for block in range(2) for layer in LAYERS[name][1].values()]


@pytest.mark.parametrize("rank_stabilised", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_lora_agrees_with_peft(name: str, rank_stabilised: bool) -> None:
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        use_rslora=rank_stabilised,
        target_modules=target_modules(name),
        fan_in_fan_out=name == "gpt2",
    )
    assert_agree(name, *pair(name, vxlab.LoRA(rank=4, alpha=6, rank_stabilised=rank_stabilised), config))


@pytest.mark.parametrize("rank", [5, 64])
@pytest.mark.parametrize("name", NAMES)
def test_vera_agrees_with_peft_that_drew_its_own_matrices_from_the_same_seed(name: str, rank: int) -> None:
    config = peft.VeraConfig(
        r=rank, projection_prng_key=11, target_modules=target_modules(name), fan_in_fan_out=name == "gpt2"
    )
    assert_agree(name, *pair(name, vxlab.VeRA(rank=rank, seed=11), config))


def test_initial_lambda_d_is_pefts() -> None:
    config = peft.VeraConfig(r=4, target_modules=target_modules("bert"))
    initial = peft.get_peft_model(ARCHITECTURES["bert"](), config)
    path = f"base_model.model.{target_modules('bert')[0]}.vera_lambda_d.default"
    assert torch.equal(initial.get_parameter(path).detach(), vxlab.VeRA(rank=4).trained((8, 8))["lambda_d"])
