"""PEFT as an oracle: the same tensors give the same logits and gradients, and train alike."""

import peft
import pytest
import torch
from architectures import ARCHITECTURES, VOCABULARY, inputs
from peft_pairs import lora_config, peft_pair, target_modules, trained_by_both, vera_config
from torch import Tensor, nn

import vxlab
from vxlab.adapters import Family

# PEFT asks transformers for a property that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

CAUSAL = ["llama-lm", "gpt2-lm", "qwen2", "gemma"]
NAMES = ["bert", "roberta", "gpt2", "llama", *CAUSAL]


def assert_agree(name: str, ours: nn.Module, theirs: nn.Module) -> None:
    mine, oracle = ours(**inputs(name)).logits, theirs(**inputs(name)).logits
    torch.testing.assert_close(mine, oracle, rtol=0, atol=1e-5)
    mine.square().sum().backward()
    oracle.square().sum().backward()
    compared = 0
    for tensor, parameter in trained_by_both(ours, theirs):
        assert parameter.grad.norm() > 0
        assert (tensor.grad - parameter.grad).norm() <= 1e-4 * parameter.grad.norm()
        compared += 1
    assert compared == 2 * len(vxlab.adapted_layers(ours)) > 0


@pytest.mark.parametrize("rank_stabilised", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_lora_agrees_with_peft(name: str, rank_stabilised: bool) -> None:
    config = lora_config(name, r=4, lora_alpha=6, use_rslora=rank_stabilised)
    assert_agree(name, *peft_pair(name, vxlab.LoRA(rank=4, alpha=6, rank_stabilised=rank_stabilised), config))


@pytest.mark.parametrize("rank", [5, 64])
@pytest.mark.parametrize("name", NAMES)
def test_vera_agrees_with_peft_that_drew_its_own_matrices_from_the_same_seed(name: str, rank: int) -> None:
    config = vera_config(name, r=rank, projection_prng_key=11)
    assert_agree(name, *peft_pair(name, vxlab.VeRA(rank=rank, seed=11), config))


def losses(model: nn.Module, rate: float, steps: int = 20) -> Tensor:
    """Teach a language model two texts, the second padded on the left, and return the loss at every step."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    ids = torch.randint(3, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(4))
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.train()(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("targets", ["query-value", "all-linear"])
@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("family", [vxlab.LoRA(rank=4, alpha=6), vxlab.VeRA(rank=16, seed=11)], ids=str)
def test_a_language_model_trains_as_with_peft(family: Family, name: str, targets: str) -> None:
    if isinstance(family, vxlab.LoRA):
        config: peft.PeftConfig = lora_config(name, targets, r=4, lora_alpha=6)
    else:
        config = vera_config(name, targets, r=16, projection_prng_key=11)
    pair = peft_pair(name, family, config, targets)
    for model in pair:
        for module in model.modules():
            if isinstance(module, nn.Dropout):  # GPT-2's own
                module.p = 0.0
    mine, oracle = (losses(model, rate=1e-2) for model in pair)
    torch.testing.assert_close(mine, oracle, rtol=0, atol=1e-4)
    assert mine[-1] < mine[0] - 0.01  # far beyond what the two may differ by
    assert trained_numbers(pair[0]) == trained_numbers(pair[1])


@pytest.mark.parametrize("rank_stabilised", [False, True])
@pytest.mark.parametrize("name", CAUSAL)
def test_lora_fa_trains_as_pefts_lora_with_a_frozen(name: str, rank_stabilised: bool) -> None:
    ours = vxlab.attach(ARCHITECTURES[name](), vxlab.LoRA(rank=4, alpha=6, rank_stabilised=rank_stabilised, trains="B",
                                                          seed=3), "all-linear")  # fmt: skip
    theirs = peft.get_peft_model(
        ARCHITECTURES[name](), lora_config(name, r=4, lora_alpha=6, use_rslora=rank_stabilised)
    )
    with torch.no_grad():
        for path, layer in vxlab.adapted_layers(ours).items():
            A = theirs.get_parameter(f"base_model.model.{path}.lora_A.default.weight").requires_grad_(False)
            A.copy_(layer.A)
    for module in (*ours.modules(), *theirs.modules()):
        if isinstance(module, nn.Dropout):  # GPT-2's own
            module.p = 0.0
    mine, oracle = (losses(model, rate=1e-2) for model in (ours, theirs))
    torch.testing.assert_close(mine, oracle, rtol=0, atol=1e-4)
    assert mine[-1] < mine[0] - 0.01
    assert trained_numbers(ours) == trained_numbers(theirs)


def trained_numbers(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def test_initial_lambda_d_is_pefts() -> None:
    initial = peft.get_peft_model(ARCHITECTURES["bert"](), vera_config("bert", r=4))
    path = f"base_model.model.{target_modules('bert')[0]}.vera_lambda_d.default"
    assert torch.equal(initial.get_parameter(path).detach(), vxlab.VeRA(rank=4).trained((8, 8))["lambda_d"])
