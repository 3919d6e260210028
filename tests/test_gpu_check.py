"""benchmarks/gpu_check.py: no failure hides another, what is missing is named, and every part runs in little."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gpu_cases
import gpu_check
import gpu_exact
import gpu_recipes
import gpu_report
import gpu_steps
import gpu_svd
import gpu_tests
import pytest
import torch

import vxlab

BAD = """
import os, signal, time

def fail(): raise ValueError("the matrices do not fit")
def leave(): os._exit(7)
def crash(): os.kill(os.getpid(), signal.SIGSEGV)
def hang(): time.sleep(600)
def lack():
    import no_such_library
def fine(): return {"number": 3}

def cases(device, tiny):
    return {each.__name__: each for each in (fail, leave, crash, hang, lack, fine)}
"""


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpu_check.Part:
    (tmp_path / "bad_cases.py").write_text(BAD)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return gpu_check.Part("bad", "bad_cases", 60, 1.5)


def told(found: dict[str, Any]) -> dict[str, str]:
    return {case["case"]: case.get("error") or case.get("skipped") or str(case["row"]) for case in found["cases"]}


def test_a_failure_a_crash_and_a_hang_hide_nothing_behind_them(part: gpu_check.Part, tmp_path: Path) -> None:
    said = told(gpu_check.run_part(part, "cpu", True, tmp_path))
    assert said["fail"].startswith("ValueError: the matrices do not fit (bad_cases.py:")
    assert said["leave"].startswith("its process ended with 7")
    assert said["crash"].startswith("its process ended with -11")
    assert "Timeout" in said["hang"]
    assert "in hang" in said["hang"]
    assert said["lack"] == "no_such_library is not installed"
    assert said["fine"] == "{'number': 3}"


def test_what_there_was_no_time_for_is_named(part: gpu_check.Part, tmp_path: Path) -> None:
    slow = part._replace(seconds=2.5, case_seconds=30)
    said = told(gpu_check.run_part(slow, "cpu", True, tmp_path))
    assert said["hang"].startswith("out of time")
    assert said["fine"] == "not run: out of time"


def test_a_part_that_does_not_load_leaves_the_others(part: gpu_check.Part, tmp_path: Path) -> None:
    parts = [part._replace(name="lost", module="no_such_part"), part]
    out = tmp_path / "results" / "found.json"
    found = gpu_check.check(parts, "cpu", True, 40, out)
    assert json.loads(out.read_text()) == found
    assert "No module named 'no_such_part'" in found["parts"]["lost"]["error"]
    assert told(found["parts"]["bad"])["fine"] == "{'number': 3}"


def test_the_table_names_what_went_wrong_first_to_last() -> None:
    row = {"step_seconds": 0.01, "peak_bytes": 2**30, "kernels": 700, "kernel_seconds": 0.008}
    steps = [
        {"case": "A | frozen", "row": row},
        {"case": "A | VeRA r=4", "row": row | {"step_seconds": 0.012}},
        {"case": "A | VeRA r=4, PEFT", "row": row | {"step_seconds": 0.016}},
        {"case": "A | full", "error": "OutOfMemoryError: CUDA out of memory"},
    ]
    parts = {
        "steps": {"seconds": 9, "cases": steps},
        "svd": {"seconds": 0, "cases": [], "error": "not run: out of time"},
    }
    lines = gpu_report.table({"device": "cuda", "tiny": False, "seconds": 9, "parts": parts}).splitlines()
    assert any("VeRA r=4 " in line and " 1.200 " in line and " 0.750 " in line and "700" in line for line in lines)
    assert any("BAD A | full: OutOfMemoryError" in line for line in lines)
    assert "svd (0 s) not run: out of time" in lines


def test_an_error_that_cuda_does_not_get_over_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    def illegal() -> dict[str, Any]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    assert gpu_cases.run_case(illegal)[1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", gone)
    event, usable = gpu_cases.run_case(illegal)
    assert (usable, event["error"][:24]) == (False, "RuntimeError: CUDA error")


def test_tests_that_pytest_was_at_when_it_ended_are_told_from_those_it_had_done() -> None:
    said = """collecting ... collected 4 items
tests/test_gpu.py::test_a[bert-LoRA(rank=4, dropout=0.0)] PASSED                 [ 25%]
tests/test_gpu.py::test_b SKIPPED (nothing that a CPU could rehearse)           [ 50%]
tests/test_gpu.py::test_c[x] FAILED                                             [ 75%]
tests/test_gpu.py::test_d[VeRA(rank=8, unique=True)] """
    found = gpu_tests._told(said)
    kinds = [outcome.split(":")[0].split(",")[0] for outcome in found.values()]
    assert kinds == ["passed", "skipped", "failed", "failed"]
    assert list(found)[3] == "tests/test_gpu.py::test_d[VeRA(rank=8, unique=True)]"
    spoilt = found | {"c": "failed: CUDA error: device-side assert triggered", "d": "failed: the same"}
    assert list(gpu_tests._usable(spoilt))[-1] == "c"


def test_a_wrong_gradient_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = gpu_exact.cases("cpu", True)
    assert cases["VeRA r=256, float32"]()["ok"]
    assert cases["LoRA r=8, bfloat16 autocast"]()["ok"]
    right = vxlab.VeRA.factors
    gpu_exact._exact.cache_clear()
    exact = gpu_exact._exact("VeRA r=256", (128, 128), 8, torch.float32)

    def rounded(*given: Any) -> tuple[torch.Tensor, ...]:
        return tuple(factor.bfloat16().to(factor.dtype) for factor in right(*given))

    monkeypatch.setattr(vxlab.VeRA, "factors", rounded)
    monkeypatch.setattr(gpu_exact, "_exact", lambda *_: exact)
    assert not gpu_exact.compare("VeRA r=256", "float32", "cpu", [((128, 128), 8)])["ok"]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # which peft reads
def test_each_kind_of_case_runs_in_little() -> None:
    steps = gpu_steps.cases("cpu", True)
    assert len(steps) == 24
    for name in (
        "RoBERTa-large 2 x 8 | frozen",
        "RoBERTa-large 2 x 8 | LoRA r=8, PEFT",
        "Llama-7B 2 x 8 | LoRA-XS r=2",
    ):
        assert steps[name]()["step_seconds"] > 0
    found = gpu_svd.cases("cpu", True)["tall"]()
    assert (found["ok"], found["verified"]) == (True, found["matrices"])
    recipes = gpu_recipes.cases("cpu", True)
    assert recipes["vera FacebookAI/roberta-base 1"]()["ok"]
    assert recipes["lora_xs FacebookAI/roberta-large 2"]()["layers"] == 8


@pytest.mark.slow
def test_the_whole_check_runs_in_little(tmp_path: Path) -> None:
    out = tmp_path / "check.json"
    command = [sys.executable, gpu_check.__file__, "--device", "cpu", "--tiny", "--seconds", "600"]
    ended = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=True, timeout=700)
    found = json.loads(out.read_text())
    assert list(found["parts"]) == [part.name for part in gpu_check.PARTS]
    for part in found["parts"].values():
        assert [case for case in part["cases"] if "error" in case or not case.get("row", {}).get("ok", True)] == []
    assert "BAD" not in ended.stdout
