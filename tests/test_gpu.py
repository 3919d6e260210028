"""What only a CUDA device shows. Run with `pytest -m gpu`, or by benchmarks/gpu_check.py where little is installed.

``VXLAB_GPU_TESTS_ON=cpu`` rehearses those that a CPU can: they are here for the device, not for what they compute.
"""

import copy
import dataclasses
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import image_models
import pytest
import stand_ins
import torch
import transformers
from architectures import ARCHITECTURES, inputs
from torch import nn

import vxlab
from vxlab.adapters.core.family import Family, Method
from vxlab.experiments import hardware
from vxlab.experiments.costs.step import kernels, peak_bytes, random_batch, step_memory, time_call, training_step
from vxlab.spectra.decomposition import in_batches
from vxlab.spectra.krylov import leading_triplets
from vxlab.spectra.weights import singular_triplets

DEVICE = os.environ.get("VXLAB_GPU_TESTS_ON", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
cuda_alone = pytest.mark.skipif(DEVICE != "cuda", reason="nothing that a CPU could rehearse")
FAMILIES: list[Family] = [
    vxlab.LoRA(rank=4),
    vxlab.LoRA(rank=24, alpha=8, rank_stabilised=True),
    vxlab.VeRA(rank=12),
    vxlab.VeRA(rank=64, vectors="d"),
    vxlab.VeRA(rank=8, vectors="b", unique=True),
    vxlab.LoRAXS(rank=4),
    vxlab.LoRAXS(rank=4, basis="random", sigma="split"),
    vxlab.LiDB(rank=2, aux_out=10, aux_in=8),
]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


def adapted(method: Method, name: str = "bert") -> nn.Module:
    """Return a tiny model on the CPU with adapters on every layer that have moved from their start."""
    torch.manual_seed(0)
    model = vxlab.attach(ARCHITECTURES[name](), method, targets="all-linear")
    with torch.no_grad():
        for layer in vxlab.adapted_layers(model).values():
            for tensor in layer.trained_tensors().values():
                tensor.normal_(std=0.05)
    return model


def batch_of(name: str = "bert", device: str = DEVICE) -> dict[str, torch.Tensor]:
    return {key: tensor.to(device) for key, tensor in inputs(name).items()}


def gradients(model: nn.Module, name: str = "bert") -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(**batch_of(name, next(model.parameters()).device.type)).logits.float().square().sum().backward()
    return {key: p.grad.cpu() for key, p in model.named_parameters() if p.grad is not None}


@contextmanager
def no_waiting() -> Iterator[None]:
    """Let nothing inside make the processor wait for the GPU, as .item() and copies to the CPU do."""
    if DEVICE == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if DEVICE == "cuda":
            torch.cuda.set_sync_debug_mode("default")


@every_family
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_logits_and_gradients_are_the_cpus(family: Family, name: str, tmp_path: Path) -> None:
    cpu = adapted(family, name)
    gpu = copy.deepcopy(cpu).to(DEVICE)
    mine, theirs = gpu(**batch_of(name)).logits, cpu(**inputs(name)).logits
    torch.testing.assert_close(mine.cpu(), theirs, rtol=0, atol=1e-4)
    found, expected = gradients(gpu, name), gradients(cpu, name)
    assert found.keys() == expected.keys()
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-3, atol=1e-5)
    folder = vxlab.save_adapter(gpu, tmp_path / "a")
    for device in (DEVICE, "cpu"):
        there = vxlab.load_adapter(ARCHITECTURES[name]().to(device), folder)
        torch.testing.assert_close(there(**batch_of(name, device)).logits.cpu(), theirs, rtol=0, atol=1e-4)


@every_family
def test_attached_on_the_gpu_it_is_what_was_attached_before(family: Family) -> None:
    torch.manual_seed(3)
    before = vxlab.attach(ARCHITECTURES["bert"](), family, targets="all-linear").to(DEVICE)
    torch.manual_seed(3)
    there = vxlab.attach(ARCHITECTURES["bert"]().to(DEVICE), family, targets="all-linear")
    for (key, mine), theirs in zip(there.state_dict().items(), before.state_dict().values(), strict=True):
        assert mine.device.type == DEVICE, key
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)
    for mine, theirs in zip(vxlab.adapted_layers(there).values(), vxlab.adapted_layers(before).values(), strict=True):
        for one, other in zip(mine.factors(), theirs.factors(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@every_family
def test_merging_and_taking_off_happen_on_the_gpu(family: Family) -> None:
    model = adapted(family).to(DEVICE).eval()
    bare = {name: layer.weight.clone() for name, layer in vxlab.adapted_layers(model).items()}
    with torch.no_grad():
        expected = model(**batch_of()).logits
        torch.testing.assert_close(vxlab.merge(model)(**batch_of()).logits, expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(vxlab.unmerge(model)(**batch_of()).logits, expected)
    vxlab.detach(model)
    assert all(torch.equal(model.get_parameter(f"{name}.weight"), weight) for name, weight in bare.items())


@pytest.mark.parametrize("method", [*FAMILIES, vxlab.Head(), vxlab.BitFit(), vxlab.Full()], ids=str)
def test_a_step_never_waits_for_the_gpu(method: Method) -> None:
    model = adapted(method).to(DEVICE).train()
    # Embeddings, for a look at the mask is transformers' own; so is the loss's look at its labels.
    batch = {"inputs_embeds": torch.randn(4, 7, 32, device=DEVICE)}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    step = training_step(model, batch, optimizer)
    step()
    with no_waiting():
        step()


def test_dropout_on_the_gpu_masks_both_passes_alike() -> None:
    torch.manual_seed(0)
    layer = vxlab.attach(nn.Sequential(nn.Linear(40, 30)), vxlab.LoRA(rank=4, dropout=0.5), "all-linear").to(DEVICE)
    nn.init.normal_(vxlab.adapted_layers(layer)["0"].B)
    x, way, gy = (torch.randn(50, n, device=DEVICE) for n in (40, 40, 30))

    def output(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return layer.train()(x)

    given = x.clone().requires_grad_()
    (gx,) = torch.autograd.grad(output(given), given, gy)
    moved = output(x + way) - output(x)  # with one mask the layer is linear
    torch.testing.assert_close((gy * moved).sum(), (gx * way).sum(), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(output(x), layer.eval()(x))


@cuda_alone
@every_family
def test_a_captured_step_replays_with_the_same_gradients(family: Family) -> None:
    model = adapted(family).to("cuda")
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


@every_family
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_close_to_float32(family: Family, dtype: torch.dtype) -> None:
    model = adapted(family).to(DEVICE)
    expected = gradients(model)
    model.zero_grad()
    with torch.autocast(DEVICE, dtype):
        output = model(**batch_of()).logits
    assert output.dtype is dtype
    (2.0**10 * output.float().square().sum()).backward()  # scaled, as half precision's small gradients are
    for key, p in model.named_parameters():
        if p.grad is not None:
            assert p.grad.dtype is torch.float32
            assert (p.grad.cpu() / 2**10 - expected[key]).norm() <= 0.1 * expected[key].norm() + 1e-3, key


@every_family
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_keeps_float32_adapters(family: Family, dtype: torch.dtype) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"]().to(DEVICE, dtype), family, targets="all-linear")
    assert model(**batch_of()).logits.dtype is dtype
    gradients(model)
    layers = vxlab.adapted_layers(model).values()
    assert {p.dtype for layer in layers for p in layer.trained_tensors().values()} == {torch.float32}


@pytest.mark.parametrize("name", ["lora", "dora", "vera"])
def test_methods_of_peft_train_and_load_on_the_gpu(name: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    model = adapted(vxlab.PEFT(name, {"r": 4})).to(DEVICE).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    training_step(model, batch_of(), optimizer)()
    expected = model.eval()(**batch_of()).logits
    there = vxlab.load_adapter(ARCHITECTURES["bert"]().to(DEVICE), vxlab.save_adapter(model, tmp_path / "a"))
    torch.testing.assert_close(there.eval()(**batch_of()).logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("band", ["top", "middle", "bottom"])
def test_spectra_are_the_cpus_and_batched(band: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (384, 384), "b": (384, 384), "c": (1536, 384), "d": (384, 1536), "e": (40, 50)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    results = []
    for there in (False, DEVICE == "cuda"):  # both from weights on the CPU, and then from weights on the GPU
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setenv("VXLAB_SPECTRA", str(tmp_path / f"{there}-{len(results)}"))
        results.append(singular_triplets(weights, 25, band))
    monkeypatch.setenv("VXLAB_SPECTRA", str(tmp_path / "moved"))
    results.append(singular_triplets({name: weight.to(DEVICE) for name, weight in weights.items()}, 25, band))
    for name in shapes:
        for found in results[1:]:
            for mine, theirs in zip(found[name], results[0][name], strict=True):
                assert mine.device.type == "cpu"
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9 * float(theirs.abs().max()))
    jobs = [(weight, slice(0, 32)) for weight in weights.values()]
    verified = [found is not None for found in in_batches(jobs, torch.device(DEVICE))]
    assert verified == [True, True, True, True, False]  # the last asks for more than half


@pytest.mark.parametrize("falls", [0.3, 1.0])
def test_a_large_weights_leading_triplets_are_the_cpus(falls: float) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(1024, 1024, generator=generator)).Q for _ in range(2))
    W = (left * torch.arange(1.0, 1025.0) ** -falls) @ right.T
    found, expected = leading_triplets(W.to(DEVICE), 16), leading_triplets(W, 16)
    assert found is not None
    assert expected is not None
    signs = (found.U.cpu() * expected.U).sum(dim=0).sign()
    for mine, theirs in ((found.U, expected.U), (found.V, expected.V)):
        assert float((mine.cpu() * signs - theirs).norm(dim=0).max()) < 1e-5
    torch.testing.assert_close(found.S.cpu(), expected.S, rtol=1e-10, atol=0)


@cuda_alone
def test_matrices_that_do_not_fit_beside_what_is_there_go_to_the_processor() -> None:
    jobs = [(torch.randn(256, 256, generator=torch.Generator().manual_seed(i)), slice(0, 32)) for i in range(4)]
    expected = in_batches(jobs, torch.device("cpu"))
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        torch.cuda.empty_cache()
        found = singular_triplets({str(i): weight for i, (weight, _) in enumerate(jobs)}, 32)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    for triplets, one in zip(found.values(), expected, strict=True):
        assert one is not None
        torch.testing.assert_close(triplets.S, one.S, rtol=0, atol=1e-10)


@cuda_alone
def test_time_kernels_and_memory_are_seen() -> None:
    a = torch.randn(2048, 2048, device="cuda")
    assert 1e-6 < time_call(lambda: a @ a) < 1
    count, seconds = kernels(lambda: (a @ a).relu_())
    assert count >= 2
    assert 1e-6 < seconds < 1
    assert 2 * a.nbytes <= peak_bytes(lambda: (a @ a) + (a @ a), a.device) <= 5 * a.nbytes


def test_the_memory_of_a_step_is_told_apart() -> None:
    model = adapted(vxlab.VeRA(rank=8)).to(DEVICE)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    memory = step_memory(model, random_batch(model, 4, 7), optimizer, "bfloat16")
    assert min(memory) >= 0
    assert memory.peak >= memory.weights + memory.adapter + memory.gradients + memory.optimizer
    assert min(memory.weights, memory.adapter, memory.activations, memory.optimizer) > 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_plan_is_near_what_a_step_on_the_gpu_holds(precision: str, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    from vxlab.experiments.costs.planned import plan_memory

    sizes = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = transformers.BertConfig(vocab_size=1000, **sizes)
    config.save_pretrained(tmp_path)
    model = transformers.BertForSequenceClassification(config).to(DEVICE)
    batch = random_batch(model, 8, 128)
    batch["attention_mask"][0, -1] = 0
    methods: dict[str, Method] = {"lora": vxlab.LoRA(rank=8), "vera": vxlab.VeRA(rank=64), "full": vxlab.Full()}
    table = plan_memory(str(tmp_path), 2, methods, "all-linear", batch_size=8, tokens=128, precision=precision,
                        device=DEVICE).set_index("method")  # fmt: skip
    for name, method in methods.items():
        vxlab.attach(model, method, "all-linear").train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.0)
        real = step_memory(model, batch, optimizer, precision)
        model.zero_grad()
        vxlab.detach(model)
        for part in ("weights", "adapter", "gradients", "optimizer"):
            assert table.loc[name, part] == getattr(real, part)
        assert table.loc[name, "activations"] == pytest.approx(real.activations, rel=0.05)
        assert table.loc[name, "peak"] == pytest.approx(real.peak, rel=0.1)


@cuda_alone
def test_the_hardware_and_its_peak_are_the_gpus() -> None:
    assert hardware.resolve_device("auto") == "cuda"
    assert hardware.describe_hardware("cuda")["gpu"] == torch.cuda.get_device_name()
    hardware.reset_peak_memory("cuda")
    before = hardware.peak_memory("cuda")
    torch.empty(2**28, dtype=torch.uint8, device="cuda")
    assert hardware.peak_memory("cuda") >= max(before, 2**28)


@cuda_alone
def test_costs_leave_a_row_that_says_what_ran_out_of_memory() -> None:
    pytest.importorskip("pandas")
    from vxlab.experiments.costs.by_rank import rank_costs

    model = ARCHITECTURES["bert"]().to("cuda")
    much = dataclasses.replace(vxlab.VeRA(rank=4), rank=2**31)  # two matrices of a terabyte
    table = rank_costs(model, [vxlab.LoRA(rank=2), much], random_batch(model, 2, 7), rounds=1, progress=False)
    errors = dict(zip(table["label"], table["error"], strict=True))
    assert errors[f"VeRA r={2**31}"]
    assert not errors["LoRA r=2"]


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the folders of a tiny model and of a task, without a download; skip where runs lack their libraries."""
    for library in ("datasets", "pandas", "sqlalchemy", "accelerate", "filelock"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("stand-ins")
    model = stand_ins.write_model(folder / "model", "FacebookAI/roberta-base", tiny=True)
    return {"model": model, "task": "sst2", "task_folder": stand_ins.write_glue(folder / "glue", "sst2", 80, 20)}


def spec_of(materials: dict[str, Any], method: Method, **changed: Any) -> vxlab.RunSpec:
    rates = {"learning_rate": 1e-2, "head_learning_rate": 1e-2}
    chosen = {"batch_size": 16, "max_length": 32, "device": DEVICE, **rates, **changed}
    return vxlab.RunSpec(method=method, **materials, **chosen)


@pytest.mark.parametrize(
    "method",
    [
        vxlab.LoRA(rank=4, dropout=0.1), vxlab.VeRA(rank=8), vxlab.LoRAXS(rank=4),
        vxlab.LoRAXS(rank=4, basis="gradient"), vxlab.LiDB(aux_out=8, aux_in=8), vxlab.Head(), vxlab.Full(),
        vxlab.PEFT("lora", {"r": 4}), vxlab.PEFT("adalora", {"init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 1}),
    ],
    ids=str,
)  # fmt: skip
def test_a_run_takes_the_gpu_and_bfloat16_by_itself(method: Method, materials: dict[str, Any], tmp_path: Path) -> None:
    record = vxlab.run(spec_of(materials, method, device="auto"), store=tmp_path, progress=False)
    precision = hardware.resolve_precision("auto", DEVICE)
    assert (record.hardware["device"], record.precision, record.status) == (DEVICE, precision, "finished")
    assert record.peak_memory > 0 or DEVICE == "cpu"


def test_runs_train_together_on_the_gpu_under_keys_of_their_own(materials: dict[str, Any], tmp_path: Path) -> None:
    specs = [spec_of(materials, vxlab.LoRA(rank=4), device="auto", seed=seed) for seed in range(3)]
    together = vxlab.sweep(specs, store=tmp_path, stack=3, progress=False)
    alone = vxlab.sweep(specs, store=tmp_path, stack=1, progress=False)
    assert (together["status"] == "finished").all()
    assert (together["key"] == alone["key"]).all() == (DEVICE == "cpu")  # dropout is on in the model
    assert (together["validation"] - alone["validation"]).abs().max() < 0.3


@cuda_alone
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_run_in_another_precision_finishes(precision: str, materials: dict[str, Any], tmp_path: Path) -> None:
    record = vxlab.run(spec_of(materials, vxlab.VeRA(rank=8), precision=precision), store=tmp_path, progress=False)
    assert (record.precision, record.status) == (precision, "finished")


def test_a_stopped_run_goes_on_with_the_numbers_of_one_that_was_not(materials: dict[str, Any], tmp_path: Path) -> None:
    from rehearsal import StopAtOnce

    spec = spec_of(materials, vxlab.LoRA(rank=4, dropout=0.1), epochs=2, precision="float32")
    whole = vxlab.run(spec, store=tmp_path / "whole", progress=False)
    stopped = vxlab.run(spec, store=tmp_path / "parts", progress=False, listener=StopAtOnce())
    assert stopped.status == "stopped"
    parts = vxlab.run(spec, store=tmp_path / "parts", progress=False)
    assert (parts.status, parts.steps) == ("finished", whole.steps)
    for mine, theirs in zip(parts.predictions(), whole.predictions(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-3)


def test_a_sweeps_workers_share_the_gpus(materials: dict[str, Any], tmp_path: Path) -> None:
    specs = [spec_of(materials, vxlab.VeRA(rank=4), seed=seed) for seed in range(2)]
    table = vxlab.sweep(specs, store=tmp_path, engine="processes", workers=2)
    assert set(table["status"]) == {"finished"}


def test_a_trained_model_answers_on_the_gpu_with_its_bands_cut(
    materials: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxlab.studies.subspaces.truncation import truncated_answers

    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path))
    record = vxlab.run(spec_of(materials, vxlab.Full()), progress=False)
    answers = truncated_answers(record, "weight", fractions=[0.5], bands=["top"], items=4, device=DEVICE)
    assert answers["answer"].notna().all()


def test_compiled_for_the_gpu_it_is_one_graph_with_the_same_gradients() -> None:
    torch._dynamo.reset()
    model = adapted(vxlab.VeRA(rank=12)).to(DEVICE)
    expected = gradients(model)
    with warnings.catch_warnings():  # torch's own, while it traces
        warnings.simplefilter("ignore")
        model.compile(fullgraph=True, backend="inductor" if DEVICE == "cuda" else "aot_eager")
        found = gradients(model)
    for key, gradient in found.items():
        assert (gradient - expected[key]).norm() <= 1e-3 * expected[key].norm() + 1e-6, key


@pytest.mark.parametrize("scheme", ["nf4", "int8", "torchao-int8"])
@pytest.mark.parametrize("family", [vxlab.LoRA(rank=4), vxlab.VeRA(rank=12), vxlab.LoRAXS(rank=4)], ids=str)
def test_on_a_quantised_base_gradients_are_those_of_its_dequantised_weights(
    family: Family, scheme: str, materials: dict[str, Any]
) -> None:
    """On a GPU int8's kernels round their input to 8 bits, too: there it is held to percents."""
    pytest.importorskip("torchao" if scheme == "torchao-int8" else "bitsandbytes")
    models = []
    for plain in (False, True):
        torch.manual_seed(0)
        model = vxlab.load_model(materials["model"], 2, scheme)
        model = vxlab.attach((vxlab.dequantise(model) if plain else model).to(DEVICE), family, "all-linear").eval()
        generator = torch.Generator().manual_seed(1)
        for layer in vxlab.adapted_layers(model).values():
            for tensor in layer.trained_tensors().values():
                tensor.data.copy_(0.05 * torch.randn(tensor.shape, generator=generator))
        models.append(model)
    batch = {"input_ids": torch.arange(5, 21, device=DEVICE).view(2, 8)}
    found = []
    for model in models:
        with torch.no_grad():
            model(**batch)  # evaluation comes before training, too
        model(**batch).logits.square().sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    off = 0.2 if scheme == "int8" and DEVICE == "cuda" else 1e-3 if DEVICE == "cuda" else 1e-5
    assert float((found[0] - found[1]).norm() / found[1].norm()) < off
    if not (scheme == "int8" and DEVICE == "cuda"):
        before = models[0](**batch).logits.detach()
        torch.testing.assert_close(vxlab.merge(models[0])(**batch).logits, before, rtol=1e-3, atol=1e-4)


def test_images_are_trained_and_changed_on_the_gpu_as_on_the_cpu(tmp_path: Path) -> None:
    folder, images = image_models.write_vit(tmp_path / "vit"), image_models.write_images(tmp_path / "images", rows=12)
    spec = vxlab.RunSpec(
        method=vxlab.LoRA(rank=2), model=str(folder), task=str(images), augmentation="flip-crop", resolution=48,
        learning_rate=5e-3, head_learning_rate=1e-2, epochs=2, batch_size=8, precision="float32", device="cpu",
    )  # fmt: skip
    runs = [
        vxlab.run(dataclasses.replace(spec, device=device), store=tmp_path / device, progress=False)
        for device in ("cpu", DEVICE)
    ]
    losses = [torch.tensor([row["loss"] for row in each.curve]) for each in runs]
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-4)
