"""How far a method's first step moves the weights: what says where another start's learning rates should lie."""

import dataclasses
import math
from collections.abc import Mapping

from torch import Tensor

from vxlab.adapters import LoRAXS, VeRA


def reach(method: LoRAXS, weights: Mapping[str, Tensor]) -> float:
    """Return how far ΔW goes by the Frobenius norm, for each unit of R's entries, where their signs are random.

    (α/r)·‖left₀‖_F·‖right₀‖_F, the root mean square over the layers.

    Args:
        method: LoRA-XS in any basis that follows from W and a seed, at one rank.
        weights: W ``(out, in)`` by layer.

    >>> import torch
    >>> reach(LoRAXS(rank=1), {"layer": torch.diag(torch.tensor([5.0, 3.0]))})
    5.0
    """
    frozen = method.frozen(weights)
    squares = [
        float((tensors["left_basis"].double().norm() * tensors["right_basis"].double().norm()).square())
        for tensors in frozen.values()
    ]
    return method.scaling * math.sqrt(sum(squares) / len(squares))


def first_step(method: VeRA, shape: tuple[int, int]) -> float:
    """Return ‖ΔW‖_F of a layer ``(out, in)`` after a step that moves every entry of b, or of d alone, by 1.

    >>> round(first_step(VeRA(64, d_initial=1.0), (32, 32)) / first_step(VeRA(64), (32, 32)), 6)
    10.0
    """
    shared = dataclasses.replace(method, unique=False).shared([shape])
    start = 1.0 if method.vectors == "d" else method.d_initial
    return start * float((shared["B"].double() @ shared["A"].double()).norm())
