"""What vxlab is measured against: PEFT's adapters, LoRA-XS as released, and the frozen model itself."""

from collections.abc import Callable

import peft
import torch
from torch import Tensor, nn

import vxlab
from vxlab.adapters.core import Family

ROLES = {
    "bert": ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"],
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
"""The linear layers of a block, as PEFT takes them: names' ends."""


class ReleasedLoRAXS(nn.Module):
    """LoRA-XS's forward pass as its released code has it: three linear maps, scaled, added to the base output."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False).requires_grad_(False)
        self.latent = nn.Linear(rank, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False).requires_grad_(False)
        self.scaling = 1.0

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        x = x.to(self.lora_A.weight.dtype)
        return (y + self.lora_B(self.latent(self.lora_A(x))) * self.scaling).to(y.dtype)


def ours(build: Callable[[], nn.Module], family: Family, targets: str = "all-linear") -> nn.Module:
    """Return the model with vxlab's adapters."""
    return vxlab.attach(build(), family, targets).train()


def pefts(build: Callable[[], nn.Module], config: peft.PeftConfig) -> nn.Module:
    """Return the model with PEFT's adapters, its head trained as vxlab trains it."""
    return peft.get_peft_model(build(), config).train()


def pefts_with_a_frozen(build: Callable[[], nn.Module], config: peft.LoraConfig) -> nn.Module:
    """Return the model with PEFT's LoRA whose A stays at its start: LoRA-FA, which PEFT has no layer for."""
    model = pefts(build, config)
    for name, parameter in model.named_parameters():
        if ".lora_A." in name:
            parameter.requires_grad_(False)
    return model


def released_lora_xs(build: Callable[[], nn.Module], rank: int) -> nn.Module:
    """Return the model with the released LoRA-XS on every linear layer, random bases in place of singular vectors."""
    model = build().requires_grad_(False)
    for name, layer in vxlab.resolve_targets(model, "all-linear").items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, ReleasedLoRAXS(layer, rank))
    getattr(model, "classifier", getattr(model, "score", None)).requires_grad_(True)
    return model.train()


def frozen(build: Callable[[], nn.Module]) -> nn.Module:
    """Return the model with nothing to train."""
    return build().requires_grad_(False).train()


def let_gradients_reach_the_embeddings(model: nn.Module) -> nn.Module:
    """Make the backward pass run through the whole model, whatever of it trains."""

    def require(module: nn.Module, given: object, output: Tensor) -> Tensor:
        return output.requires_grad_() if output.is_leaf else output

    model.get_input_embeddings().register_forward_hook(require)
    return model


def free_memory() -> None:
    """Give cached GPU memory back before the next pair."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
