"""The cache of decompositions: found by content, whole or not at all, never trusted blindly, never in the way."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import vxlab
from vxlab.paths import spectra_folder
from vxlab.spectra import cache as spectra_cache
from vxlab.spectra import weights as spectra
from vxlab.spectra.cache import CacheWarning, entry_key, read_entry, write_entry
from vxlab.spectra.weights import singular_triplets, singular_values

W = torch.randn(100, 80, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty cache, and a fresh right to one warning."""
    monkeypatch.setenv("VXLAB_SPECTRA", str(tmp_path / "spectra"))
    monkeypatch.setattr(spectra_cache, "_said", set())
    return tmp_path / "spectra"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the matrices of each decomposition."""
    calls: list[int] = []
    for name in ("decompose", "all_values"):
        exact = getattr(spectra, name)
        counting = lambda weights, *rest, exact=exact: calls.append(len(weights)) or exact(weights, *rest)  # noqa: E731
        monkeypatch.setattr(spectra, name, counting)
    return calls


def same(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(x, y) and x.stride() == y.stride() for x, y in zip(a, b, strict=True))


def test_the_second_time_comes_from_the_cache_bit_for_bit(computed: list[int], folder: Path) -> None:
    first, values = singular_triplets({"a": W}, 5)["a"], singular_values({"a": W})["a"]
    second = singular_triplets({"renamed": W.clone()}, 5)["renamed"]
    assert same(first, second)
    assert torch.equal(values, singular_values({"a": W})["a"])
    assert computed == [1, 1]
    assert sorted(path.name for path in folder.iterdir()) == sorted([entry_key(W, "top-32"), entry_key(W, "values")])


def test_only_what_the_cache_lacks_is_computed(computed: list[int]) -> None:
    singular_triplets({"a": W, "b": W + 1}, 5)
    singular_triplets({"c": W + 2, "b": W + 1, "a": W}, 5)
    assert computed == [2, 1]


@pytest.mark.parametrize(
    "other", [W + 1e-6, W.T, W.reshape(80, 100), W.double(), W.bfloat16(), W[:99]], ids=lambda w: f"{w.dtype}{w.shape}"
)
def test_another_weight_is_another_entry(other: torch.Tensor) -> None:
    assert entry_key(other, "top-32") != entry_key(W, "top-32")


def test_the_key_is_the_content_and_the_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    assert entry_key(W.T.contiguous().T, "top-32") == entry_key(W, "top-32")
    assert entry_key(W, "bottom-32") != entry_key(W, "top-32")
    before = entry_key(W, "top-32")
    monkeypatch.setattr(spectra_cache, "FORMAT", spectra_cache.FORMAT + 1)
    assert entry_key(W, "top-32") != before


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:3],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: bytes(len(data)),
        lambda data: flip(data, 3),
        lambda data: flip(data, 60),
        lambda data: flip(data, len(data) // 2),
        lambda data: flip(data, -1 % len(data)),
        lambda data: b"<html>" + data,
    ],
    ids=["empty", "3 bytes", "half", "short", "long", "zeros", "size", "header", "numbers", "checksum", "foreign"],
)
def test_a_damaged_entry_is_computed_again_and_replaced(
    damage: Callable[[bytes], bytes], folder: Path, computed: list[int]
) -> None:
    right = singular_triplets({"a": W}, 5)["a"]
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert same(singular_triplets({"a": W}, 5)["a"], right)
    assert computed == [1, 1]
    assert entry.read_bytes() == whole


def test_another_weights_entry_under_this_name_is_not_trusted(folder: Path, computed: list[int]) -> None:
    right = singular_triplets({"a": W}, 5)["a"]
    singular_triplets({"b": W + 1}, 5)
    (folder / entry_key(W + 1, "top-32")).replace(folder / entry_key(W, "top-32"))
    assert same(singular_triplets({"a": W}, 5)["a"], right)
    assert computed == [1, 1, 1]


def test_a_folder_in_an_entrys_place_is_no_entry(folder: Path) -> None:
    (folder / entry_key(W, "top-32")).mkdir(parents=True)
    with pytest.warns(CacheWarning, match=r"cannot be written \(Is a directory\)"):
        singular_triplets({"a": W}, 5)
    assert [path.name for path in folder.iterdir()] == [entry_key(W, "top-32")]


def test_a_folder_that_cannot_be_made_is_said_once(tmp_path: Path, folder: Path, computed: list[int]) -> None:
    folder.write_text("a file in its place")
    match = r"spectra cannot be written \(File exists\).*computed again; free some space there, or set VXLAB_SPECTRA"
    with pytest.warns(CacheWarning, match=match) as said:
        first = singular_triplets({"a": W, "b": W + 1}, 5)["a"]
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(singular_triplets({"a": W}, 5)["a"], first)
    assert computed == [2, 1]
    assert folder.read_text() == "a file in its place"


def test_a_failed_write_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    error = write_entry("key", {"a": torch.ones(3, dtype=torch.float64)})
    assert isinstance(error, OSError)
    assert list(folder.iterdir()) == []
    assert read_entry("key") is None


def run(program: str, folder: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "VXLAB_SPECTRA": str(folder), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes)  # type: ignore[call-overload]


SET_UP = """
import torch, vxlab
from vxlab.spectra.weights import singular_triplets
draw = torch.Generator().manual_seed(0)
weights = {str(i): torch.randn(100, 80, generator=draw) for i in range(12)}
"""


def test_a_full_disk_is_said_and_worked_around(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="limits on file sizes are POSIX's")
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
    program = limit + SET_UP + "print(len(singular_triplets(weights, 5)))\nsingular_triplets(weights, 5)"
    output, _ = (process := run(program, tmp_path / "full")).communicate(timeout=60)
    assert process.returncode == 0, output
    assert "12" in output.splitlines()
    assert output.count("CacheWarning:") == 1
    assert f"{tmp_path / 'full'} cannot be written (File too large), so singular value decompositions" in output
    assert list((tmp_path / "full").iterdir()) == []


def test_processes_may_write_the_same_entries_at_the_same_time(tmp_path: Path) -> None:
    program = SET_UP + (
        "from vxlab.spectra.cache import entry_key, read_entry, write_entry\n"
        "found = singular_triplets(weights, 5)\n"
        "for _ in range(20):\n"
        "    for weight in weights.values():\n"
        "        key = entry_key(weight, 'top-32')\n"
        "        entry = read_entry(key)\n"
        "        assert entry is not None\n"
        "        assert write_entry(key, entry) is None\n"
        "print(float(sum(triplets.U.sum() for triplets in found.values())))\n"
    )
    processes = [run(program, tmp_path / "shared") for _ in range(4)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert len(set(outputs)) == 1
    assert len(list((tmp_path / "shared").iterdir())) == 12


def test_the_folder_is_beside_the_downloads_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VXLAB_SPECTRA")
    monkeypatch.setenv("VXLAB_CACHE", str(tmp_path))
    assert spectra_folder() == tmp_path / "spectra"


@pytest.mark.parametrize("basis", ["top", "middle", "random"])
def test_attaching_a_second_time_computes_nothing_and_gives_the_same_bases(basis: str, computed: list[int]) -> None:
    def bases() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(40, 90), nn.ReLU(), nn.Linear(90, 40))
        vxlab.attach(model, vxlab.LoRAXS(rank=6, basis=basis), targets="all-linear")
        return dict(model.named_buffers())

    first, second = bases(), bases()
    assert computed == [2]
    assert first.keys() == second.keys()
    assert same(tuple(first.values()), tuple(second.values()))
