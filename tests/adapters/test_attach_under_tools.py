"""Adapted models under the tools that people train with: compiled, checkpointed, distributed, functional."""

import copy
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path

import accelerate
import pytest
import torch
from architectures import ARCHITECTURES, inputs
from places import SUPPORT
from torch import nn
from torch.func import functional_call, grad, vmap

import vxlab
from vxlab.adapters.core.family import Family

FAMILIES = [vxlab.LoRA(rank=4), vxlab.LoRA(rank=24), vxlab.VeRA(rank=8), vxlab.VeRA(rank=64), vxlab.LoRAXS(rank=4)]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


def adapted(family: Family, name: str = "bert") -> nn.Module:
    """Return a tiny model with adapters on every layer that have moved from their start."""
    torch.manual_seed(0)
    model = vxlab.attach(ARCHITECTURES[name](), family, targets="all-linear")
    with torch.no_grad():
        for layer in vxlab.adapted_layers(model).values():
            for tensor in layer.trained_tensors().values():
                tensor.normal_(std=0.1)
    return model


def gradients(model: nn.Module, name: str = "bert", loss_scale: float = 1.0) -> dict[str, torch.Tensor]:
    model.zero_grad()
    (loss_scale * model(**inputs(name)).logits.float().square().sum()).backward()
    found = {key: p.grad / loss_scale for key, p in model.named_parameters() if p.requires_grad}
    assert len(found) > 4
    return found


def assert_same(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float = 1e-4) -> None:
    assert mine.keys() == theirs.keys()
    for key, gradient in mine.items():
        assert (gradient - theirs[key]).norm() <= tolerance * theirs[key].norm(), key


@pytest.mark.parametrize(
    ("family", "name"),
    [(FAMILIES[0], "bert"), (FAMILIES[1], "gpt2"), (FAMILIES[2], "bert"), (FAMILIES[4], "llama")],
    ids=str,
)
def test_a_compiled_model_has_no_graph_break_and_the_same_gradients(family: Family, name: str) -> None:
    torch._dynamo.reset()
    model = adapted(family, name)
    expected = gradients(model, name)
    with warnings.catch_warnings():  # torch's own, while it traces
        warnings.simplefilter("ignore", DeprecationWarning)
        model.compile(fullgraph=True, backend="aot_eager")
        assert_same(gradients(model, name), expected)


@every_family
def test_gradient_checkpointing_changes_nothing(family: Family) -> None:
    model = adapted(family)
    expected = gradients(model)
    model.activation_checkpointing_enable()
    model.train()  # without which transformers keeps everything
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert_same(gradients(model), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_family
def test_autocast_stays_close_to_float32(family: Family, dtype: torch.dtype) -> None:
    model = adapted(family)
    expected = gradients(model)
    with torch.autocast("cpu", dtype):
        found = gradients(
            model, loss_scale=2.0**14
        )  # the backward pass under autocast too, as some training loops have it
    assert all(gradient.dtype is torch.float32 for gradient in found.values())
    assert_same(found, expected, tolerance=0.1)


@every_family
def test_a_half_precision_model_keeps_its_type_and_float32_adapters(family: Family) -> None:
    expected = gradients(adapted(family))
    torch.manual_seed(0)
    model = vxlab.attach(ARCHITECTURES["bert"]().bfloat16(), family, targets="all-linear")
    source = vxlab.adapted_layers(adapted(family))
    for name, layer in vxlab.adapted_layers(model).items():
        for key, tensor in layer.trained_tensors().items():
            tensor.data.copy_(source[name].trained_tensors()[key])
    assert model(**inputs("bert")).logits.dtype is torch.bfloat16
    found = gradients(model)
    if not isinstance(family, vxlab.LoRAXS):  # whose basis follows the rounded weights
        assert_same(found, expected, tolerance=0.2)
    assert {p.dtype for p in layer.trained_tensors().values()} == {torch.float32}


@every_family
def test_functional_call_takes_other_values_and_their_gradients(family: Family) -> None:
    model = adapted(family)
    other = {key: p.detach() * 1.5 for key, p in model.named_parameters() if p.requires_grad}

    def loss(values: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(model, values, kwargs=inputs("bert")).logits.square().sum()

    found = grad(loss)(other)
    changed = copy.deepcopy(model)
    changed.load_state_dict({**changed.state_dict(), **other})
    assert_same(found, gradients(changed))
    leaves = {key: value.clone().requires_grad_() for key, value in other.items()}
    loss(leaves).backward()  # outside functional_call, where the module has its own values again
    assert_same({key: value.grad for key, value in leaves.items()}, found)


@pytest.mark.parametrize("family", [vxlab.LoRA(rank=2), vxlab.VeRA(rank=16)], ids=str)
def test_gradients_of_each_example_sum_to_the_batchs(family: Family) -> None:
    torch.manual_seed(0)
    model = vxlab.attach(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), family, targets="all-linear")
    values = {key: torch.randn_like(p) for key, p in model.named_parameters() if p.requires_grad}
    x = torch.randn(7, 6)

    def loss(values: dict[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        return functional_call(model, values, (rows,)).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(values, x)
    assert_same({key: g.sum(0) for key, g in each.items()}, grad(loss)(values, x))


@pytest.mark.parametrize("family", [vxlab.LoRA(rank=2), vxlab.VeRA(rank=16)], ids=str)
def test_torch_funcs_second_derivatives_and_mapped_adapters_are_the_dense_formulas(family: Family) -> None:
    torch.manual_seed(0)
    model = vxlab.attach(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), family, targets="all-linear")
    values = {key: torch.randn_like(p) for key, p in model.named_parameters() if p.requires_grad}
    x, layers = torch.randn(7, 6), vxlab.adapted_layers(model)

    def loss(values: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(model, values, (x,)).square().sum()

    def dense(values: dict[str, torch.Tensor]) -> torch.Tensor:
        hidden = x
        for name, layer in layers.items():
            own = {key: values[f"{name}.{key}"] for key in layer.trained_tensors()}
            left, right = family.factors({**dict(layer.shared.named_buffers()), **own}, layer.shape)
            hidden = nn.functional.linear(hidden, layer.weight + left @ right, layer.bias)
            hidden = hidden.tanh() if name == "0" else hidden
        return hidden.square().sum()

    def sharpness(of: Callable[[dict[str, torch.Tensor]], torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda values: sum(g.square().sum() for g in grad(of)(values).values())

    assert_same(grad(sharpness(loss))(values), grad(sharpness(dense))(values), tolerance=1e-3)
    several = {key: torch.stack([value, 2 * value]) for key, value in values.items()}
    mapped = grad(lambda stacked: vmap(loss)(stacked).sum())(several)
    assert_same({key: g[1] for key, g in mapped.items()}, grad(dense)({k: 2 * v for k, v in values.items()}))


@every_family
def test_shapes_alone_pass_through_on_the_meta_device(family: Family) -> None:
    model = adapted(family).to("meta")
    batch = {key: tensor.to("meta") for key, tensor in inputs("bert").items() if key == "input_ids"}
    assert model(**batch).logits.shape == adapted(family)(**inputs("bert")).logits.shape


@every_family
def test_inference_mode_gives_the_same_logits(family: Family) -> None:
    model = adapted(family)
    expected = model(**inputs("bert")).logits
    with torch.inference_mode():
        torch.testing.assert_close(model(**inputs("bert")).logits, expected)


def test_accelerate_prepares_and_steps_it() -> None:
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)  # a Trainer in this process left its own
    model = adapted(vxlab.VeRA(rank=8))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    helper = accelerate.Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=2)
    prepared, optimizer = helper.prepare(model, optimizer)
    losses = []
    for _ in range(40):
        with helper.accumulate(prepared):
            loss = prepared(**inputs("bert"), labels=torch.tensor([0, 1])).loss
            helper.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert len(vxlab.adapted_layers(helper.unwrap_model(prepared))) == 12


WORKER = """
    import os, sys, torch, torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
    sys.path[:0] = [{support!r}, {tests!r}]
    from test_attach_under_tools import FAMILIES, adapted
    from architectures import inputs
    rank = int(sys.argv[1])
    dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
    for number, family in enumerate(FAMILIES):
        model = DistributedDataParallel(adapted(family))
        mine = {{key: tensor[rank:rank + 1] for key, tensor in inputs("bert").items()}}
        model(**mine).logits.square().sum().backward()
        found = {{k.removeprefix("module."): p.grad for k, p in model.named_parameters() if p.requires_grad}}
        if rank == 0:
            torch.save(found, f"{{sys.argv[3]}}/{{number}}.pt")
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads, taken down while Python ends, may abort a process whose work is done
"""


def test_two_distributed_processes_average_the_gradients(tmp_path: Path) -> None:
    code = textwrap.dedent(WORKER.format(support=str(SUPPORT), tests=str(Path(__file__).parent)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank), str(tmp_path / "store"), str(tmp_path)], env=environment
        )
        for rank in range(2)
    ]
    assert [worker.wait(240) for worker in workers] == [0, 0]
    for number, family in enumerate(FAMILIES):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        expected = gradients(adapted(family))
        assert_same({key: 2 * gradient for key, gradient in found.items()}, expected)
