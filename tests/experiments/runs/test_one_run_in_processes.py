"""Several processes for one run: the batch is the spec's, the key tells, and nothing waits for who does not come."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_runs
from places import SUPPORT
from transformers import TrainingArguments

import vxlab
from vxlab.experiments import hardware
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.runs.one_run import train_job
from vxlab.experiments.runs.trainer import training_arguments
from vxlab.experiments.scoring.metrics import compute

TORCHRUN = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29501"}

SHORT: dict[str, Any] = {"epochs": 1, "train_examples": 40, "eval_examples": 10}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_torchruns_processes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware.processes() == 1
    _set(monkeypatch, TORCHRUN)
    assert hardware.processes() == 2
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert hardware.processes() == 1


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"WORLD_SIZE": "4"},
            r"WORLD_SIZE=4 is in the environment, and RANK is not: .* by torchrun, or unset WORLD_SIZE",
        ),
        ({"WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0"}, "and MASTER_ADDR is not: .* or unset WORLD_SIZE"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK=0 is in the environment, and RANK is not: .* or unset LOCAL_RANK to train"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE=2 is in the environment, and RANK is not"),
        ({"ACCELERATE_USE_FSDP": "true"}, "ACCELERATE_USE_FSDP=true parts a model among processes, .*; unset it"),
    ],
)
def test_half_an_environment_of_processes_is_refused(
    variables: dict[str, str], message: str, tiny_model: str, toy_task: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _set(monkeypatch, variables)
    spec = toy_runs.spec(tiny_model, toy_task)
    with pytest.raises(vxlab.VxlabError, match=message):
        vxlab.run(spec, store=tmp_path, progress=False)
    with pytest.raises(vxlab.VxlabError, match=message):
        vxlab.sweep([spec], store=tmp_path, progress=False)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": "1"}, {"WORLD_SIZE": "1", "RANK": "0"}, {"SLURM_NTASKS": "4"}])
def test_one_process_needs_no_torchrun(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, variables)
    assert hardware.processes() == 1


def test_the_batch_is_divided_among_the_processes_and_their_number_is_in_the_key(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task)
    one = Materials().job(spec)
    assert _batch(spec, tmp_path) == 8
    _set(monkeypatch, TORCHRUN)
    two = Materials().job(spec)
    assert two.identity == one.identity | {"processes": "2"}
    assert two.key != one.key
    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    monkeypatch.setattr(TrainingArguments, "__post_init__", lambda arguments: None)  # which would look for the other
    monkeypatch.setattr(TrainingArguments, "n_gpu", 0)
    assert _batch(spec, tmp_path) == 4
    with pytest.raises(
        vxlab.VxlabError, match="batch_size=9 does not divide among 2 processes; choose a multiple of 2"
    ):
        Materials().job(toy_runs.spec(tiny_model, toy_task, batch_size=9))


def _batch(spec: vxlab.RunSpec, folder: Path) -> int:
    arguments = training_arguments(spec, folder, "cpu", "float32", "accuracy", rows=120)
    assert arguments.logging_steps == 1
    batch: int = arguments.per_device_train_batch_size
    return batch


def test_a_sweep_in_processes_of_torchrun_is_refused(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, TORCHRUN)
    with pytest.raises(
        vxlab.VxlabError, match="a sweep was started by torchrun in 2 processes; start it once, and choo"
    ):
        vxlab.sweep([toy_runs.spec(tiny_model, toy_task)], store=tmp_path, progress=False)


ACCELERATE = {
    "ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    "ACCELERATE_DYNAMO_BACKEND": "EAGER", "ACCELERATE_USE_CPU": "true",
}  # fmt: skip


def _setters() -> dict[str, Callable[[pytest.MonkeyPatch, contextlib.ExitStack], Any]]:
    """Return, by name, what a process may have set before it trains; undone at the end of the stack."""

    def of_torch(name: str, value: Any, before: Any) -> Callable[[pytest.MonkeyPatch, contextlib.ExitStack], Any]:
        def put(patch: pytest.MonkeyPatch, stack: contextlib.ExitStack) -> None:
            stack.callback(getattr(torch, name), before)
            getattr(torch, name)(value)

        return put

    return {
        "accelerate": lambda patch, stack: _set(patch, ACCELERATE),
        "dtype": of_torch("set_default_dtype", torch.float64, torch.float32),
        "products": of_torch("set_float32_matmul_precision", "medium", "highest"),
        "products, the newer way": _products_the_newer_way,
        "gradients": of_torch("set_grad_enabled", False, True),
        "inference": lambda patch, stack: stack.enter_context(torch.inference_mode()),
        "autocast": lambda patch, stack: stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16)),
        "device": lambda patch, stack: stack.enter_context(torch.device("meta")),
    }


def _products_the_newer_way(patch: pytest.MonkeyPatch, stack: contextlib.ExitStack) -> None:
    for backend, precision in ((torch.backends.cuda.matmul, "tf32"), (torch.backends.mkldnn.matmul, "bf16")):
        stack.callback(setattr, backend, "fp32_precision", backend.fp32_precision)
        backend.fp32_precision = precision


@pytest.fixture(scope="module")
def plain(tiny_model: str, toy_task: str, tmp_path_factory: pytest.TempPathFactory) -> vxlab.RunRecord:
    spec = toy_runs.spec(tiny_model, toy_task, **SHORT)
    return vxlab.run(spec, store=tmp_path_factory.mktemp("plain"), progress=False)


@pytest.mark.parametrize("name", _setters())
def test_what_a_process_had_set_moves_no_number(
    name: str, plain: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materials = Materials(reuse=False)
    job = materials.job(toy_runs.spec(tiny_model, toy_task, **SHORT))
    with contextlib.ExitStack() as stack:
        _setters()[name](monkeypatch, stack)
        before = _state()
        told = train_job(job, tmp_path / "run", materials)
        assert _state() == before
    assert (told.key, told.curve, told.metrics) == (plain.key, plain.curve, plain.metrics)


def _older_precision() -> str | None:
    """Return the precision of products by torch's older way, which it refuses to tell after the newer."""
    with contextlib.suppress(RuntimeError):
        return torch.get_float32_matmul_precision()
    return None


def _state() -> list[Any]:
    return [
        {name: value for name, value in os.environ.items() if name.startswith("ACCELERATE")},
        torch.get_default_dtype(),
        _older_precision(),
        [backend.fp32_precision for backend in (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)],
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_device(),
    ]


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"method": vxlab.LoRA(rank=4), "epochs": 1}
    one = vxlab.run(toy_runs.spec(tiny_model, toy_task, **settings), store=tmp_path, progress=False)
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, toy_runs, vxlab\n"
        "spec = toy_runs.spec(*sys.argv[1:3], method=vxlab.LoRA(rank=4), epochs=1)\n"
        "print(vxlab.run(spec, store=sys.argv[3], progress=False).folder)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    paths = (str(Path(vxlab.__file__).parents[1]), str(SUPPORT), os.environ.get("PYTHONPATH", ""))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*command, tiny_model, toy_task, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.split()
    assert first == second
    two = vxlab.RunRecord.load(Path(first))
    assert two is not None
    assert (two.key != one.key, two.steps, two.identity["processes"]) == (True, one.steps, "2")
    assert two.curve[0]["loss"] == pytest.approx(one.curve[0]["loss"], rel=0.2)  # and not the sum of the processes'
    assert max(row["loss"] for row in two.curve) < 1.5 * max(row["loss"] for row in one.curve)
    logits, labels = two.predictions()
    assert torch.equal(labels, one.predictions()[1])
    assert two.score() == compute(["accuracy"], logits.numpy(), labels.numpy())["accuracy"]
