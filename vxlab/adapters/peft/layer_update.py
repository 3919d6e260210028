"""What peft's methods add to a linear layer's weight: two thin factors where they have them, else a whole matrix."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters.core import linear_weight, orient, quantisation_of
from vxlab.errors import VxlabError
from vxlab.words import first_line

_ROWS = 1024
"""So many inputs go through a layer at once where its weight is asked for by what it does."""
_OF_UPDATE, _OF_WEIGHT = 1e-4, 1e-8
"""Up to these shares of x·ΔWᵀ and x·Wᵀ an output may be off: some methods compute in float32 whatever they get."""


def is_peft_layer(module: nn.Module) -> bool:
    """Tell a linear layer that the peft library has wrapped."""
    return type(module).__module__.startswith("peft.tuners.") and hasattr(module, "base_layer")


def peft_base(layer: nn.Module) -> nn.Module:
    """Return the layer that peft has wrapped, as the model had it."""
    base: Any = layer
    while hasattr(base, "base_layer"):
        base = base.base_layer
    return base  # type: ignore[no-any-return]


@torch.no_grad()
def peft_update(layer: nn.Module, name: str) -> tuple[Tensor, Tensor | None]:
    """Return what a layer that peft has wrapped adds to its weight W, in evaluation mode, in float64 on the CPU.

    It is the product of two thin factors where the method has these (LoRA, VeRA, AdaLoRA); else ΔW as peft tells it;
    and where that is not what it adds (DoRA, OFT, (IA)³ and others act on W itself), W′ - W with W′ read off from what
    the layer does to the unit vectors. Whichever it is, it is held against the layer's own outputs.

    Args:
        layer: of peft's, not merged.
        name: of the layer, for an error.

    Returns:
        left ``(out, r)`` and right ``(r, in)`` with ΔW = left·right; or ΔW ``(out, in)`` and None.

    Raises:
        VxlabError: the layer is merged, its update is no matrix (it is not linear in its input, or changes the bias),
            or peft cannot compute it in float64.
    """
    if getattr(layer, "merged", False):
        raise VxlabError(f"peft has merged its adapter into `{name}`, whose own weight is hidden; call unmerge() on it")
    try:
        return _found(_widened(layer), name)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise VxlabError(
            f"what {type(layer).__module__.split('.')[2]} of peft adds to `{name}` cannot be computed in float64: "
            f"{first_line(error)}"
        ) from error


def _widened(layer: nn.Module) -> Any:
    """Return a copy of a layer in float64 on the CPU, on a plain base where its own is quantised."""
    base: Any = peft_base(layer)
    taken: dict[int, Any] = {}
    if quantisation_of(base):
        plain: Any = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        plain.weight = nn.Parameter(linear_weight(base).cpu().double())
        plain.bias = None if base.bias is None else nn.Parameter(base.bias.detach().cpu().double())
        taken[id(base)] = plain
    return copy.deepcopy(layer, taken).cpu().double().eval()


def _found(layer: Any, name: str) -> tuple[Tensor, Tensor | None]:
    outcome = _Outcome(layer, name)
    for factors in _told(layer):
        if outcome.is_of(factors):
            return factors
    return outcome.read_off()


class _Outcome:
    """What a layer does to some inputs, less what it does without an adapter."""

    def __init__(self, layer: Any, name: str) -> None:
        base: Any = peft_base(layer)
        self.run, self.name, self.weight = layer.forward, name, linear_weight(base)  # its hooks are for real inputs
        self.zero = self.run(torch.zeros(1, self.weight.shape[1], dtype=torch.float64))
        bias = base.bias if isinstance(getattr(base, "bias", None), Tensor) else torch.zeros_like(self.zero)
        if float((self.zero - bias).norm()) > 1e-6 * float(bias.norm()):
            raise VxlabError(
                f"the adapter changes the bias of `{name}`, which is no part of an update of its weight; such a run "
                "has no ΔW to show"
            )
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(8, self.weight.shape[1], generator=generator, dtype=torch.float64)
        self.base = self.x @ self.weight.T
        self.added = self.run(self.x) - self.zero - self.base

    def is_of(self, factors: tuple[Tensor, Tensor | None]) -> bool:
        """Say whether an update does to the inputs what the layer does."""
        left, right = factors
        if (left if right is None else right).shape[1] != self.weight.shape[1] or len(left) != len(self.weight):
            return False
        told = self.x @ left.T if right is None else self.x @ right.T @ left.T
        allowed = _OF_UPDATE * float(told.norm()) + _OF_WEIGHT * float(self.base.norm())
        return float((told - self.added).norm()) <= allowed

    def read_off(self) -> tuple[Tensor, None]:
        """Return W′ - W, or raise where no matrix does what the layer does."""
        size = self.weight.shape[1]
        parts = []
        for start in range(0, size, _ROWS):
            unit = torch.eye(min(_ROWS, size - start), size, dtype=torch.float64).roll(start, 1)
            parts.append((self.run(unit) - self.zero).T)
        delta = torch.cat(parts, 1) - self.weight
        if not self.is_of((delta, None)):
            raise VxlabError(
                f"what the adapter adds to the outputs of `{self.name}` is not linear in its inputs, so no matrix ΔW "
                "is its update"
            )
        return delta, None


def _told(layer: Any) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield what the layer's own tensors, and peft, say of its update; whether it holds is not known yet."""
    if len(layer.active_adapters) != 1:
        return  # several add up, which is read off
    (adapter,) = layer.active_adapters
    tensors = {key: value[adapter] for key, value in layer._modules.items() if _has(value, adapter)}
    if {"lora_A", "lora_B", "lora_E"} <= tensors.keys():
        scale = layer.scaling[adapter] / (layer.ranknum[adapter] + 1e-5)  # as peft divides
        yield scale * tensors["lora_B"], tensors["lora_A"] * tensors["lora_E"]
    elif {"lora_A", "lora_B"} <= tensors.keys():
        yield layer.scaling[adapter] * tensors["lora_B"].weight, tensors["lora_A"].weight
    elif {"vera_lambda_b", "vera_lambda_d"} <= tensors.keys():
        left, right = layer.vera_B[adapter][: layer.out_features], layer.vera_A[adapter][:, : layer.in_features]
        yield tensors["vera_lambda_b"][:, None] * left, tensors["vera_lambda_d"][:, None] * right
    with contextlib.suppress(AttributeError, NotImplementedError, TypeError):  # not every method has it in this form
        told = layer.get_delta_weight(adapter)
        if isinstance(told, Tensor) and told.dim() == 2:
            yield orient(peft_base(layer), told), None


def _has(value: Any, adapter: str) -> bool:
    return isinstance(value, nn.ModuleDict | nn.ParameterDict) and adapter in value
