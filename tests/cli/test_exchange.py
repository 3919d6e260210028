"""``vxlab convert`` and ``vxlab inspect``: a run by its key or a folder, and what a folder holds as a table."""

import re
from pathlib import Path

import exported
import pytest
import torch
import toy_runs

import vxlab
from vxlab.cli import commands as cli


def test_a_run_is_converted_by_its_key_and_inspected(
    tiny_model: str, toy_task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = vxlab.run(toy_runs.spec(tiny_model, toy_task, epochs=1), store=tmp_path, progress=False)
    target, capsys_before = tmp_path / "out", capsys.readouterr()
    assert capsys_before.err == ""
    assert cli.main(["convert", record.key[:10], str(target), "--to", "merged", "--store", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{target}, ")
    assert [line.split()[0] for line in printed[1:]] == sorted(path.name for path in target.iterdir())
    assert cli.main(["inspect", str(target)]) == 0
    assert (
        f"exported by: vxlab {vxlab.__version__}, as merged, of LoRA r=4, from run {record.key}"
        in capsys.readouterr().out
    )
    assert cli.main(["inspect", str(record.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{record.folder}: a run of vxlab's"
    table = [re.split(r"  +", line) for line in lines[lines.index("") + 1 :]]
    assert table[0] == ["layer", "out", "in", "rank", "trained", "norm"]
    assert table[1][:5] == ["bert.encoder.layer.0.attention.self.query", "32", "32", "4", "256"]
    assert float(table[1][5]) > 0


def test_an_adapter_is_converted_from_its_folder(
    tiny_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = exported.attach_stirred(tiny_model, 3, vxlab.VeRA(rank=4))
    source = vxlab.save_adapter(model, tmp_path / "adapter")
    command = ["convert", str(source), str(tmp_path / "out"), "--to", "merged"]
    assert cli.main(command) == 2
    assert "does not say on which base it was trained; name it with base=" in capsys.readouterr().err
    assert cli.main([*command, "--base", tiny_model, "--dtype", "float16"]) == 0
    again = vxlab.load_model(str(tmp_path / "out"), 3)
    assert torch.allclose(exported.answers(again), exported.answers(model), atol=0.05)
    (tmp_path / "out" / "mine").write_text("")
    assert cli.main([*command, "--base", tiny_model]) == 2
    assert "holds mine, which no export wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["convert", "none", "out", "--to", "merged"], "model_or_folder='none' is no folder"),
        (["convert", "none", "out", "--to", "gguf"], "format='gguf' is unknown; choose one of peft, lora, merged"),
        (["inspect", "none"], "folder='none' is no folder"),
    ],
)
def test_what_cannot_be_done_is_said(
    command: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path))
    assert cli.main(command) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
