"""What AdaLoRA, as peft has it, needs of a training loop: a falling budget of ranks and nearly orthogonal factors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vxlab.errors import VxlabError

_MEANS = ("exp_avg_ipt", "exp_avg_unc")
"""The allocator's running means, of importance and of its uncertainty, by parameter."""


def regularise(model: nn.Module) -> RemovableHandle:
    """Add ``γ · mean ‖P·Pᵀ − I‖_F`` over the factors P to the loss that the model returns while it trains.

    Source: Zhang et al., AdaLoRA (ICLR 2023), arXiv 2303.10512, equation 4; peft takes the norm, not its square. peft
    adds it in evaluation too, where it would hide the task's own loss.
    """
    return model.register_forward_hook(_add_penalty)


def _add_penalty(model: nn.Module, _: Any, output: Any) -> None:
    if model.training and isinstance(getattr(output, "loss", None), Tensor):
        config: Any = model.peft_config
        (weight,) = {each.orth_reg_weight for each in config.values()}
        own = [(name, p) for name, p in model.named_parameters() if ".lora_A." in name or ".lora_B." in name]
        factors = [p if ".lora_A." in name else p.T for name, p in own]  # A is (r, in), B (out, r)
        penalties = [torch.linalg.norm(P @ P.T - torch.eye(len(P), device=P.device, dtype=P.dtype)) for P in factors]
        output.loss = output.loss + weight * torch.stack(penalties).mean()


@dataclass(frozen=True)
class RankSchedule:
    """Lower the budget of ranks step by step, setting the least important singular values to 0."""

    tuner: Any
    """peft's ``AdaLoraModel``"""

    def after_step(self, step: int, steps: int) -> None:
        """Lower the budget after an optimizer step, from 1, of so many, while its gradients are there.

        Raises:
            VxlabError: the run is shorter than the schedule's beginning and end, in which the budget does not fall.
        """
        allocator = self.tuner.rankallocator
        tinit, tfinal = allocator.peft_config.tinit, allocator.peft_config.tfinal
        if tinit + tfinal >= steps:
            raise VxlabError(
                f"PEFT('adalora') tinit={tinit} and tfinal={tfinal} leave none of the run's {steps} steps to lower "
                "its ranks; choose smaller ones, or train for longer"
            )
        allocator.set_total_step(steps)
        self.tuner.update_and_allocate(step)

    def state(self) -> dict[str, Tensor]:
        """Return what the allocator remembers: its running means, and which singular values it kept last."""
        allocator = self.tuner.rankallocator
        kept = allocator.peft_config.rank_pattern or {}
        tensors = {f"{kind}.{name}": mean for kind in _MEANS for name, mean in getattr(allocator, kind).items()}
        tensors |= {f"kept.{name}": torch.tensor(mask) for name, mask in kept.items()}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`state` returned."""
        allocator, parameters = self.tuner.rankallocator, dict(self.tuner.model.named_parameters())
        kept = {}
        for key, tensor in state.items():
            kind, _, name = key.partition(".")
            if kind == "kept":
                kept[name] = tensor.tolist()
            else:
                getattr(allocator, kind)[name] = tensor.to(parameters[name].device)
                allocator.ipt[name] = torch.zeros_like(parameters[name])  # there, it says that the means have begun
        allocator.peft_config.rank_pattern = kept or None
