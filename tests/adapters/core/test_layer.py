"""An adapted layer makes all its tensors on the model's device, and rounds no more than its peers' layers do.

No GPU is needed to see a mix-up of devices: fake tensors carry a device and no values, and refuse two devices in one
operation. Every build of torch has the meta device, which stands for the GPU here.
"""

import copy
import statistics
from collections.abc import Iterator

import precision
import pytest
import torch
import torch._functorch.config
from architectures import ARCHITECTURES, inputs
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import vxlab
from vxlab.adapters.core.family import Family, Method
from vxlab.adapters.core.operation import adapted_linear

ELSEWHERE = "meta"
FAMILIES: list[Family] = [
    vxlab.LoRA(rank=4, alpha=2),
    vxlab.LoRA(rank=24, dropout=0.1),
    vxlab.VeRA(rank=8),
    vxlab.VeRA(rank=64, vectors="d"),
    vxlab.VeRA(rank=4, vectors="b", unique=True),
    vxlab.LoRAXS(rank=4, alpha=2, sigma="split"),
    vxlab.LiDB(rank=2, aux_out=10, aux_in=8),
]


@pytest.fixture
def fake() -> Iterator[FakeTensorMode]:
    """Return the mode in which every tensor that is made is fake, and real ones are refused."""
    with torch._functorch.config.patch(fake_tensor_allow_meta=True):
        yield FakeTensorMode(allow_non_fake_inputs=False)


def moved(model: nn.Module) -> nn.Module:
    """Put a model elsewhere, as ``.to`` would: parameters and registered buffers, and nothing else that it holds."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                there = torch.empty(parameter.shape, dtype=parameter.dtype, device=ELSEWHERE)
                module._parameters[name] = nn.Parameter(there, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=ELSEWHERE)
    return model


def batch() -> dict[str, torch.Tensor]:
    given = inputs("bert") | {"labels": torch.zeros(2, dtype=torch.long)}
    return {name: torch.empty(tensor.shape, dtype=tensor.dtype, device=ELSEWHERE) for name, tensor in given.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", [*FAMILIES, vxlab.BitFit(), vxlab.Head(), vxlab.Full()], ids=str)
def test_a_step_stays_on_the_models_device(method: Method, dtype: torch.dtype, fake: FakeTensorMode) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"]().to(dtype), method, targets="all-linear").train()
    with fake:
        moved(model)
        output = model(**batch())
        output.loss.backward()
        assert output.logits.device.type == ELSEWHERE
        assert {p.grad.device.type for p in model.parameters() if p.grad is not None} == {ELSEWHERE}


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_merging_stays_on_the_models_device(family: Family, fake: FakeTensorMode) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), family, targets="all-linear").eval()
    with fake:
        for layer in vxlab.adapted_layers(moved(model)).values():
            layer.merge()
            assert layer.weight.device.type == layer.base_weight().device.type == ELSEWHERE
            layer.unmerge()


@pytest.mark.parametrize("tokens", [2, 90])
@pytest.mark.parametrize("right_trains", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_every_way_through_the_operation_stays_on_one_device(
    tokens: int, right_trains: bool, dropout: float, fake: FakeTensorMode
) -> None:
    for rank in (2, 60):  # thin products, folded weights, and gradients from W's own
        with fake:
            x, W, bias, left, right = (
                torch.empty(shape, device=ELSEWHERE)
                for shape in ((tokens, 20), (16, 20), (16,), (16, rank), (rank, 20))
            )
            given = [x.requires_grad_(), left.requires_grad_(), *([right.requires_grad_()] if right_trains else [])]
            y = adapted_linear(x, W, bias, left, right, dropout=dropout)
            found = torch.autograd.grad(y.sum(), given)
            assert {tensor.device.type for tensor in (y, *found)} == {ELSEWHERE}


def test_a_tensor_left_behind_is_found(fake: FakeTensorMode) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.VeRA(rank=4), targets="all-linear")
    behind = copy.deepcopy(next(iter(vxlab.adapted_layers(model).values())).shared)
    with fake:
        moved(model)
        for layer in vxlab.adapted_layers(model).values():
            layer.shared._buffers["A"] = torch.empty(behind.A.shape)
        with pytest.raises(RuntimeError, match="found at least two devices"):
            model(**batch())


@pytest.mark.parametrize("mode", ["autocast", "half"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("pair", precision.PAIRS)
def test_errors_against_float64_are_no_larger_than_the_peers(pair: str, dtype: torch.dtype, mode: str) -> None:
    draws = [precision.measure(precision.PAIRS[pair], dtype, mode, seed, "cpu") for seed in range(3)]
    for quantity in precision.QUANTITIES:
        ratio = statistics.median(each["ours"][quantity] / each["peer"][quantity] for each in draws)
        # Both sides compute a half-precision model's float32 adapter in float32: what is left there is summation order.
        in_float32 = mode == "half" and max(each["ours"][quantity] for each in draws) < 1e-6
        assert in_float32 or ratio <= 1.005, quantity
