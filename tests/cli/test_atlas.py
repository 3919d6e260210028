"""The command ``vxlab atlas``: a sweep of one's own comes into the atlas, and goes on on another machine."""

from pathlib import Path

import pandas as pd
import pytest
from toy_atlas import keep_atlas_within

import vxlab
from vxlab.cli.commands import main
from vxlab.experiments.sweeps.stored import stored_sweeps

SWEEP = """
model: {model}
task: {task}
batch_size: 8
max_length: 16
epochs: 1
device: cpu
learning_rates: 2
head_learning_rates: [2e-2]
widen: 0
report_seeds: 1
candidates:
  - {{method: lora, rank: 2}}
"""
SEVERAL = """
sweeps:
  toy: {report_seeds: 3}
  longer: {epochs: 9}
"""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_atlas_within(tmp_path, monkeypatch)


def _atlas(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["atlas", *arguments])
    told = capsys.readouterr()
    return code, told.out + told.err


def test_a_half_done_sweep_goes_on_elsewhere_and_is_added_when_it_is_whole(
    tiny_model: str, toy_task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half, whole, here, there = (str(tmp_path / name) for name in ("half.yaml", "whole.yaml", "here.db", "there.db"))
    for path, several in ((half, ""), (whole, SEVERAL)):
        Path(path).write_text(SWEEP.format(model=tiny_model, task=toy_task) + several, encoding="utf-8")
    wanted, of_whole = vxlab.read_sweeps(whole)["toy"], (whole, "--only", "toy")
    vxlab.compare(vxlab.read_sweep(half), store=here, progress=False)

    told = f"lacks 2 of the 5 runs of {whole}; train them first: vxlab sweep {whole} --store {here} --only toy"
    assert _atlas(capsys, "add", *of_whole, "--store", here) == (2, f"vxlab: {here} {told}\n")
    assert _atlas(capsys, "list") == (0, "There is no file of the atlas yet; add a sweep: vxlab atlas add SWEEP.yaml\n")

    file = str(tmp_path / "so_far.parquet")
    code, said = _atlas(capsys, "export", file, *of_whole, "--store", here)
    assert (code, said.partition(" of ")[2]) == (0, "3 runs, with 2 still to be trained\n")
    assert _atlas(capsys, "import", file, "--store", there) == (0, f"{there}: 3 runs new\n")
    result = vxlab.compare(wanted, store=there, progress=False)
    trained = [Path(folder).is_dir() for folder in result.runs["folder"]]
    assert (len(trained), sum(trained)) == (5, 2)

    own = tmp_path / "own" / "own.parquet"
    assert _atlas(capsys, "add", *of_whole, "--store", there) == (0, f"{own}: 5 runs new\n")
    known = "0 runs new, 3 there before with the same results"
    assert _atlas(capsys, "add", half, "--store", here) == (0, f"{own}: {known}\n")
    code, said = _atlas(capsys, "list")
    assert said.splitlines()[1].split()[:1] + said.splitlines()[1].split()[-3:] == ["5", "tiny", "toy", str(own)]
    with vxlab.atlas() as atlas:
        (stored,) = stored_sweeps(atlas)
        pd.testing.assert_series_equal(stored.summary["scores"], result.summary["scores"])
        again = vxlab.compare(wanted, store=atlas, progress=False)
        pd.testing.assert_frame_equal(again.summary, result.summary)
        more = vxlab.RunSpec(
            **{"method": vxlab.LoRA(rank=3), "learning_rate": 1e-2, "head_learning_rate": 1e-2, **wanted.settings}
        )
        with pytest.raises(vxlab.VxlabError, match=r"lacks 1 of 1 runs: .*; it is only read, as an atlas is"):
            vxlab.run(more, store=atlas, progress=False)
        with pytest.raises(vxlab.VxlabError, match="is only read, as an atlas is"):
            vxlab.compare(wanted, store=atlas, progress=False, fresh=True)


def test_what_cannot_be_added_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("protocol: grid\nlearning_rates: [1e-3]\nhead_learning_rates: [1e-3]\n"
                    "candidates:\n  - {method: lora, rank: 2}\n")  # fmt: skip
    missing = str(tmp_path / "none.db")
    for arguments in (("add", str(grid)), ("export", str(tmp_path / "a.parquet"))):
        assert _atlas(capsys, *arguments, "--store", missing)[1].startswith(f"vxlab: {missing} is not there")
    assert not Path(missing).exists()
    vxlab.Store(tmp_path / "runs.db").close()
    code, said = _atlas(capsys, "add", str(grid), "--store", str(tmp_path / "runs.db"))
    assert code == 2
    assert "is a grid, in which rates are not chosen; the atlas takes protocol: fair" in said
    code, said = _atlas(capsys, "import", str(tmp_path / "no.parquet"), "--store", str(tmp_path / "runs.db"))
    assert (code, "no.parquet' is not there" in said) == (2, True)
