"""How a released adapter's bases stand to a base's weights, against SciPy's angles and a formula's bounds."""

import math
from pathlib import Path
from typing import Any

import pytest
import scipy.linalg
import torch
from released_lora_xs import drawn, exact, randomised
from torch import Tensor, nn
from toy_quantised import quantised

from vxlab.adapters.interop.lora_xs_bases import BasisMatch, compare_bases
from vxlab.adapters.interop.saved import SavedAdapter

OUT, IN, RANK = 60, 90, 6


def layer(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(IN, OUT, bias=False).to(dtype).requires_grad_(False)


def match(module: nn.Linear, A: Tensor, B: Tensor) -> BasisMatch:
    saved = SavedAdapter(
        folder=Path("nowhere"), kind="lora-xs", method="lora_xs",
        settings={"rank": RANK, "alpha": 6.0, "basis": "given"}, layers=("0",), tensors={"0": {"R": torch.eye(RANK)}},
        frozen={"0": {"left_basis": B, "right_basis": A}},
    )  # fmt: skip
    return compare_bases(saved, {"0": module})["0"]


def test_a_randomised_svd_is_of_its_weight_and_as_far_from_it_as_scipy_says() -> None:
    module = layer()
    A, B = randomised(module.weight, RANK)
    U, _, Vh = torch.linalg.svd(module.weight.double(), full_matrices=False)
    angles = [
        scipy.linalg.subspace_angles(one.double().numpy(), other.numpy()).max()
        for one, other in ((B, U[:, :RANK]), (A.T, Vh[:RANK].T))
    ]
    found = match(module, A, B)
    assert found.angle == pytest.approx(max(angles), rel=1e-5)
    assert found.residual < found.tolerance < 1e-5
    assert found.orthonormal
    assert not found.exact


def test_exact_bases_are_told_with_their_signs() -> None:
    module = layer()
    A, B = exact(module.weight, RANK)
    found = match(module, A, B)
    assert found.exact
    assert found.angle < 1e-6
    assert found.residual < found.tolerance
    assert found.signs.abs().eq(1).all()
    assert (found.signs < 0).any()


@pytest.mark.parametrize("turn", [1e-4, 1e-5])
def test_bases_that_are_turned_by_more_than_rounding_are_not_exact(turn: float) -> None:
    module = layer()
    W = module.weight.double()
    U = torch.linalg.svd(W, full_matrices=False).U
    B = math.cos(turn) * U[:, :RANK] + math.sin(turn) * U[:, RANK : 2 * RANK]
    found = match(module, (B.T @ W).float(), B.float())
    assert found.angle == pytest.approx(turn, rel=0.02)
    assert not found.exact


@pytest.mark.parametrize("bases", [randomised, exact])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_or_bases_in_half_precision_are_the_same_to_their_rounding(bases: Any, dtype: torch.dtype) -> None:
    A, B = bases(layer().weight, RANK)
    for found in (match(layer(dtype), A, B), match(layer(), A.to(dtype), B.to(dtype))):
        assert found.residual < found.tolerance
        assert found.orthonormal
        assert not found.exact


@pytest.mark.parametrize("part", [1e-2, 1e-4])
def test_another_weight_is_told_from_the_same(part: float) -> None:
    A, B = randomised(layer().weight, RANK)
    other = layer()
    other.weight.add_(torch.randn(OUT, IN) * other.weight.std() * part)
    found = match(other, A, B)
    assert found.residual == pytest.approx(part * math.sqrt(RANK / OUT), rel=0.2)
    assert found.residual > found.tolerance


def test_random_bases_are_not_orthonormal() -> None:
    module = layer()
    assert not match(module, *drawn(module.weight, RANK)).orthonormal


@pytest.mark.parametrize("scheme", ["nf4", "int8"])
def test_a_quantised_weight_is_another(scheme: str) -> None:
    pytest.importorskip("bitsandbytes")
    A, B = randomised(layer().weight, RANK)
    found = match(quantised(layer(), scheme), A, B)
    assert found.residual > found.tolerance
