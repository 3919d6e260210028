"""Devices and precisions: what is there is taken, what is not is refused by name."""

import importlib.metadata
import platform
from pathlib import Path

import pytest
import torch

import vxlab
from vxlab.experiments import hardware


def _machine(monkeypatch: pytest.MonkeyPatch, cuda: bool = False, mps: bool = False, bf16: bool = True) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    # As torch has it: a GPU that lacks bfloat16 supports it "by emulation".
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation)


@pytest.mark.parametrize(
    ("cuda", "mps", "device"), [(True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_fastest_device_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, device: str
) -> None:
    _machine(monkeypatch, cuda, mps)
    assert hardware.resolve_device("auto") == device
    assert hardware.resolve_device("cpu") == "cpu"


def test_each_process_of_torchrun_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert [hardware.own_device(device) for device in ("cuda", "cpu")] == ["cuda", "cpu"]
    for rank, device in (("0", "cuda:0"), ("1", "cuda:1"), ("3", "cuda:1")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert [hardware.own_device(each) for each in ("cuda", "cpu", "mps")] == [device, "cpu", "mps"]


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch)
    with pytest.raises(
        vxlab.VxlabError, match=r"device='cuda' was asked for, but torch .* sees none; choose auto or cpu"
    ):
        hardware.resolve_device("cuda")
    _machine(monkeypatch, cuda=True)
    with pytest.raises(vxlab.VxlabError, match=r"device='mps' was asked for, .* choose auto or cuda, cpu"):
        hardware.resolve_device("mps")
    with pytest.raises(vxlab.VxlabError, match="device='tpu' is unknown; choose one of auto, cuda, mps, cpu"):
        hardware.resolve_device("tpu")


def test_a_run_asking_for_cuda_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _machine(monkeypatch)
    with pytest.raises(vxlab.VxlabError, match="device='cuda' was asked for"):
        vxlab.run(vxlab.recipe("lora", scale="smoke", device="cuda"), store=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("device", "bf16", "precision"),
    [("cuda", True, "bfloat16"), ("cuda", False, "float32"), ("mps", True, "float32"), ("cpu", True, "float32")],
)
def test_auto_precision_is_bfloat16_only_on_gpus_that_have_it(
    monkeypatch: pytest.MonkeyPatch, device: str, bf16: bool, precision: str
) -> None:
    _machine(monkeypatch, bf16=bf16)
    assert hardware.resolve_precision("auto", device) == precision


def test_precisions_are_checked_against_the_device() -> None:
    assert hardware.resolve_precision("bfloat16", "cpu") == "bfloat16"
    assert hardware.resolve_precision("float16", "cuda") == "float16"
    with pytest.raises(vxlab.VxlabError, match="precision='float16' needs a CUDA device, and this run is on cpu"):
        hardware.resolve_precision("float16", "cpu")
    with pytest.raises(vxlab.VxlabError, match="precision='half' is unknown; choose one of auto, float32"):
        hardware.resolve_precision("half", "cuda")


def test_the_hardware_is_described() -> None:
    described = hardware.describe_hardware("cpu")
    assert described["device"] == "cpu"
    assert described["threads"] == torch.get_num_threads()
    assert "cores)" in str(described["processor"])
    assert platform.machine() in str(described["system"])
    assert platform.node() not in str(described["system"])
    assert 2**27 < int(described["memory"]) < 2**50
    assert hardware.library_versions()["torch"] == torch.__version__
    assert {"vxlab", "python", "transformers", "accelerate", "numpy"} <= set(hardware.library_versions())


def test_versions_leave_out_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.metadata.version

    def version(name: str) -> str:
        if name == "datasets":
            raise importlib.metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    hardware._version.cache_clear()
    assert set(hardware.library_versions()) - {"commit"} == {
        "vxlab",
        "python",
        "torch",
        "transformers",
        "accelerate",
        "scikit-learn",
        "numpy",
    }
    monkeypatch.undo()
    assert "datasets" in hardware.library_versions()  # that it was missing is not kept


def test_a_version_is_that_of_what_was_imported_whatever_is_installed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    before = hardware.library_versions()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    assert hardware.library_versions() == before


def test_the_peak_of_memory_sees_what_was_used_and_let_go() -> None:
    hardware.reset_peak_memory("cpu")
    before = hardware.peak_memory("cpu")
    held = torch.ones(32 * 2**20)  # 128 MiB
    del held
    assert hardware.peak_memory("cpu") - before > 100 * 2**20


def test_the_peak_of_memory_needs_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    hardware.reset_peak_memory("cpu")
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "Name:\tpython\n")
    assert hardware.peak_memory("cpu") > 2**20
