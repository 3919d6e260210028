"""What only a CUDA device shows. Run with `pytest -m gpu`."""

import copy
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, inputs

import vxlab
from vxlab.adapters.family import Family
from vxlab.spectra import singular_triplets
from vxlab.svd import in_batches

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


@pytest.mark.parametrize("family", [vxlab.LoRA(rank=4), vxlab.VeRA(rank=64), vxlab.LoRAXS(rank=4)], ids=str)
def test_a_captured_step_replays_with_the_same_gradients(family: Family) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), family, targets="all-linear").to("cuda")
    trained = [p for p in model.parameters() if p.requires_grad]
    batch = {"inputs_embeds": torch.randn(4, 7, 32, device="cuda")}

    def step() -> None:
        for p in trained:
            p.grad = None
        model(**batch).logits.square().sum().backward()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    expected = [p.grad.clone() for p in trained]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    graph.replay()
    for p, gradient in zip(trained, expected, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_close_to_float32(dtype: torch.dtype) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.VeRA(rank=12), targets="all-linear").to("cuda")
    batch = {name: tensor.to("cuda") for name, tensor in inputs("bert").items()}
    with torch.no_grad():
        expected = model(**batch).logits
        with torch.autocast("cuda", dtype):
            torch.testing.assert_close(model(**batch).logits.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("band", ["top", "middle", "bottom"])
def test_spectra_are_the_cpus_and_batched(band: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (384, 384), "b": (384, 384), "c": (1536, 384), "d": (384, 1536), "e": (40, 50)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    results = []
    for there in (False, True):  # both from weights on the CPU, and then from weights on the GPU
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setenv("VXLAB_SPECTRA", str(tmp_path / str(there)))
        results.append(singular_triplets(weights, 25, band))
    monkeypatch.setenv("VXLAB_SPECTRA", str(tmp_path / "moved"))
    results.append(singular_triplets({name: weight.to("cuda") for name, weight in weights.items()}, 25, band))
    for name in shapes:
        for found in results[1:]:
            for mine, theirs in zip(found[name], results[0][name], strict=True):
                assert mine.device.type == "cpu"
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9 * float(theirs.abs().max()))
    jobs = [(weight, slice(0, 32)) for weight in weights.values()]
    verified = [found is not None for found in in_batches(jobs, torch.device("cuda"))]
    assert verified == [True, True, True, True, False]  # the last asks for more than half
