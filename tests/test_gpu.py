"""What only a CUDA device shows. Run with `pytest -m gpu`."""

import copy
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, inputs

import vxlab
from vxlab.adapters.family import Family

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


@pytest.mark.parametrize("family", [vxlab.LoRA(rank=4), vxlab.VeRA(rank=12), vxlab.LoRAXS(rank=4)], ids=str)
def test_logits_and_gradients_are_the_cpus(family: Family, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cpu = vxlab.attach(ARCHITECTURES["bert"](), family, targets="all-linear")
    with torch.no_grad():
        for layer in vxlab.adapted_layers(cpu).values():
            for tensor in layer.trained_tensors().values():
                tensor.normal_(std=0.05)
    gpu = copy.deepcopy(cpu).to("cuda")
    mine = gpu(**{name: tensor.to("cuda") for name, tensor in inputs("bert").items()}).logits
    theirs = cpu(**inputs("bert")).logits
    torch.testing.assert_close(mine.cpu(), theirs, rtol=0, atol=1e-4)
    mine.square().sum().backward()
    theirs.square().sum().backward()
    for name, parameter in cpu.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(gpu.get_parameter(name).grad.cpu(), parameter.grad, rtol=1e-3, atol=1e-5)
    folder = vxlab.save_adapter(gpu, tmp_path / "a")
    vxlab.load_adapter(ARCHITECTURES["bert"]().to("cuda"), folder)
    vxlab.load_adapter(ARCHITECTURES["bert"](), folder)


def test_a_run_takes_the_gpu_and_bfloat16_by_itself(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    spec = vxlab.RunSpec(
        model=tiny_model, task=toy_task, method=vxlab.VeRA(rank=8), learning_rate=1e-2, head_learning_rate=1e-2
    )
    record = vxlab.run(spec, store=tmp_path, progress=False)
    assert (record.hardware["device"], record.precision, record.status) == ("cuda", "bfloat16", "finished")
