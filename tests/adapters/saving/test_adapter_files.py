"""The folder of an adapter: nothing in it is lost, nothing is half written, and nothing damaged is believed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES
from toy_checkpoints import altered, assert_refused, logits, trained

import vxlab
from vxlab.adapters.saving import adapter_files

NAMES = ["adapter.json", "adapter.safetensors"]


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return trained("bert", vxlab.LoRA(rank=2))


@pytest.fixture(scope="module")
def other() -> torch.nn.Module:
    return trained("bert", vxlab.LoRA(rank=3), targets="query-value")


@pytest.fixture
def saved(model: torch.nn.Module, tmp_path: Path) -> Path:
    return vxlab.save_adapter(model, tmp_path / "a")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_loads(folder: Path, model: torch.nn.Module) -> None:
    assert torch.equal(logits(vxlab.load_adapter(ARCHITECTURES["bert"](), folder), "bert"), logits(model, "bert"))


def test_whatever_else_a_folder_holds_stays(model: torch.nn.Module, other: torch.nn.Module, tmp_path: Path) -> None:
    ARCHITECTURES["bert"]().save_pretrained(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "results.txt").write_text("0.87")
    before = contents(tmp_path)
    vxlab.save_adapter(model, tmp_path)
    vxlab.save_adapter(other, tmp_path)
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert sorted(after.keys() - before.keys()) == NAMES
    assert_loads(tmp_path, other)


def test_links_the_current_folder_and_deep_new_ones_are_written(
    model: torch.nn.Module, other: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    vxlab.save_adapter(model, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    monkeypatch.chdir(tmp_path / "real")
    vxlab.save_adapter(other, ".")
    assert_loads(tmp_path / "link", other)
    vxlab.save_adapter(model, f"{tmp_path}/deep/er/")
    assert_loads(tmp_path / "deep" / "er", model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "link", "real"]


def test_an_adapters_files_may_be_links_whose_targets_stay(
    model: torch.nn.Module, other: torch.nn.Module, tmp_path: Path
) -> None:
    shelf = vxlab.save_adapter(model, tmp_path / "shelf")
    (tmp_path / "a").mkdir()
    for name in NAMES:
        (tmp_path / "a" / name).symlink_to(shelf / name)
    vxlab.save_adapter(other, tmp_path / "a")
    assert_loads(shelf, model)
    assert_loads(tmp_path / "a", other)


def _a_file(folder: Path) -> None:
    folder.write_text("mine")


def _a_dangling_link(folder: Path) -> None:
    folder.symlink_to("nowhere", target_is_directory=True)


def _a_strange_adapter_json(folder: Path) -> None:
    folder.mkdir()
    (folder / "adapter.json").write_text('{"name": "mains adapter, 12 V"}')


def _tensors_of_others(folder: Path) -> None:
    folder.mkdir()
    (folder / "adapter.safetensors").write_bytes(b"mine")


def _a_folder_of_that_name(folder: Path) -> None:
    (folder / "adapter.json").mkdir(parents=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_a_file, "it is a file; give a folder"),
        (_a_dangling_link, "File exists"),
        (_a_strange_adapter_json, "has adapter.json, and no whole adapter of vxlab's; give another folder"),
        (_tensors_of_others, "has adapter.safetensors, and no whole adapter"),
        (_a_folder_of_that_name, "has adapter.json, and no whole adapter"),
    ],
)
def test_what_is_no_adapter_is_refused_and_left_whole(
    make: Callable[[Path], None], message: str, model: torch.nn.Module, tmp_path: Path
) -> None:
    make(tmp_path / "a")
    before, names = contents(tmp_path), sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(vxlab.VxlabError, match=message):
        vxlab.save_adapter(model, tmp_path / "a")
    assert (contents(tmp_path), sorted(path.name for path in tmp_path.rglob("*"))) == (before, names)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write, root included")
def test_a_folder_that_cannot_be_written_is_told(model: torch.nn.Module) -> None:
    with pytest.raises(
        vxlab.VxlabError, match=r"cannot be saved in /proc/self/adapter: .*; give one that can be written"
    ):
        vxlab.save_adapter(model, "/proc/self/adapter")
    with pytest.raises(vxlab.VxlabError, match=r"cannot be saved in /proc/self: .*; give one that can be written"):
        vxlab.save_adapter(model, "/proc/self")


@pytest.mark.parametrize("at", [0, 1])
def test_a_save_cut_short_between_the_files_is_never_a_wrong_adapter(
    at: int, other: torch.nn.Module, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Path] = []

    def dies(source: Path, target: Path) -> None:
        if len(done) == at:
            raise KeyboardInterrupt
        os.rename(source, target)
        done.append(target)

    with monkeypatch.context() as patch:
        patch.setattr(adapter_files.os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            vxlab.save_adapter(other, saved)
    if at == 0:
        vxlab.load_adapter(ARCHITECTURES["bert"](), saved)
    else:
        assert_refused(ARCHITECTURES["bert"](), saved, "truncated or altered, or saving it was cut short")
    vxlab.save_adapter(other, saved)  # and the folder is as good as ever
    assert_loads(saved, other)
    assert sorted(path.name for path in saved.iterdir()) == NAMES


def test_a_first_save_that_fails_leaves_no_folder(
    model: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapter_files.os, "replace", full_disk)
    with pytest.raises(vxlab.VxlabError, match="No space left"):
        vxlab.save_adapter(model, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_first_save_that_fails_leaves_what_others_wrote_meanwhile(
    model: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*args: object) -> None:
        (tmp_path / "a" / "notes.txt").write_text("0.87")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapter_files.os, "replace", full_disk)
    with pytest.raises(vxlab.VxlabError, match="No space left"):
        vxlab.save_adapter(model, tmp_path / "a")
    assert contents(tmp_path) == {"a/notes.txt": b"0.87"}


def edited(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / "adapter.json"
    settings = json.loads(path.read_text())
    edit(settings)
    path.write_text(json.dumps(settings))
    return folder


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "layers in another order": lambda settings: settings["layers"].reverse(),
    "another alpha": lambda settings: settings["settings"].update(alpha=7.0),
    "another base": lambda settings: settings["base"].update(sha256="0" * 64),
    "another version": lambda settings: settings.update(torch="1.0"),
    "a field more": lambda settings: settings.update(note="mine"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_settings_that_were_edited_are_refused(edit: Callable[[dict[str, Any]], object], saved: Path) -> None:
    assert_refused(ARCHITECTURES["bert"](), edited(saved, edit), "adapter.json was altered: .* checksum")


def test_a_settings_file_without_a_checksum_loads_and_its_layers_must_be_in_order(
    model: torch.nn.Module, saved: Path
) -> None:
    assert_loads(altered(saved), model)
    edited(saved, EDITS["layers in another order"])
    assert_refused(ARCHITECTURES["bert"](), saved, "its layers are not in the model's order")


WRONG: list[dict[str, Any]] = [
    {"format": "1"},
    {"format": True},
    {"method": 3},
    {"method": "lroa"},
    {"method": "full"},
    {"settings": []},
    {"settings": {"rank": 2, "rnak": 3}},
    {"settings": {"rank": "many"}},
    {"settings": {"rank": 2, "alpha": [1]}},
    {"settings": {"name": "lora"}},
    {"settings": None},
    {"layers": "bert"},
    {"layers": {"a": 1}},
    {"layers": [3]},
    {"layers": ["bert", "bert"]},
    {"layers": ["bert"]},
    {"layers": [""]},
    {"layers": ["bert.nowhere"]},
    {"layers": []},
    {"tensors_sha256": 5},
    {"tensors_sha256": None},
    {"base": "abc"},
    {"base": {}},
    {"base": {"dtype": "float32", "sha256": 4}},
    {"base": {"dtype": ["float32"], "sha256": "0"}},
    {"base": {"dtype": "float99", "sha256": "0"}},
    {"buffers": 3},
    {"buffers": {"dtype": "float32", "sha256": "0"}},
    {"shared_sha256": 3},
    {"shared_sha256": "0"},
    {"basis_probes": 0.5},
    {"basis_probes": ["0.5"]},
    {"basis_probes": [float("nan")]},
    {"basis_probes": [0.5]},
]


@pytest.mark.parametrize("fields", WRONG, ids=str)
def test_a_field_of_a_wrong_kind_is_an_error_of_one_line(fields: dict[str, Any], saved: Path) -> None:
    model = ARCHITECTURES["bert"]()
    modules = [type(module) for module in model.modules()]
    with pytest.raises(vxlab.VxlabError) as caught:
        vxlab.load_adapter(model, altered(saved, **fields))
    assert str(caught.value).count("\n") <= 1
    assert [type(module) for module in model.modules()] == modules


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "3", "[" * 100_000, '"adapter"', "\x00", '{"format":1'], ids=range(8)
)
def test_a_settings_file_that_is_no_mapping_is_refused(text: str, saved: Path) -> None:
    (saved / "adapter.json").write_text(text)
    assert_refused(ARCHITECTURES["bert"](), saved, r"is damaged: not JSON|is not a vxlab adapter")


def test_a_settings_file_that_is_no_text_is_refused(saved: Path) -> None:
    (saved / "adapter.json").write_bytes(b"\xff\xfe\x00adapter")
    assert_refused(ARCHITECTURES["bert"](), saved, "is damaged: not JSON")


def test_missing_tensors_are_refused(saved: Path) -> None:
    (saved / "adapter.safetensors").unlink()
    assert_refused(ARCHITECTURES["bert"](), saved, r"adapter.safetensors cannot be read .*No such file")
