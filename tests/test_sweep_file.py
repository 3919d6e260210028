"""A sweep in a YAML file: readable, and refused with the nearest word where it cannot be meant."""

from pathlib import Path

import pytest

import vxlab
from vxlab.experiments.sweep_file import read_sweep

FAIR = """
model: minilm
task: rotten_tomatoes
epochs: 1
learning_rates: 3
spacing: 3
head_learning_rates: [5e-3, 1e-2]
report_seeds: 4
candidates:
  - {method: lora, rank: [2, 8]}
  - {method: elora, rank: 256, learning_rate: 2e-2, targets: [query, value]}
  - {method: head}
"""
GRID = """
protocol: grid
task: sst2
learning_rates: [1e-3, 1e-2]
seeds: [0, 1, 2]
candidates:
  - {method: lora_xs, rank: [4, 8], basis: [top, bottom]}
"""


def read(text: str, folder: Path) -> "vxlab.FairSweep | list[vxlab.RunSpec]":
    path = folder / "sweep.yaml"
    path.write_text(text)
    return read_sweep(path)


def test_a_fair_sweep_is_read(tmp_path: Path) -> None:
    fair = read(FAIR, tmp_path)
    assert isinstance(fair, vxlab.FairSweep)
    assert list(fair.names) == ["LoRA r=2", "LoRA r=8", "VeRA r=256", "head only"]
    vera = fair.names["VeRA r=256"]
    assert (vera.targets, vera.learning_rate) == (("query", "value"), 2e-2)
    assert (fair.spacing, fair.head_learning_rates, fair.report_seeds) == (3, (5e-3, 1e-2), 4)
    assert fair.settings == {"model": "minilm", "task": "rotten_tomatoes", "epochs": 1}


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    specs = read(GRID, tmp_path)
    assert isinstance(specs, list)
    assert len(set(specs)) == 4 * 2 * 3
    assert {spec.task for spec in specs} == {"sst2"}
    assert specs[0].learning_rate == 1e-3  # which YAML alone takes for a text


def test_peft_methods_are_named_with_their_settings(tmp_path: Path) -> None:
    fair = read('candidates: [{method: "peft:dora", r: [4, 8]}, {method: bitfit}]', tmp_path)
    assert isinstance(fair, vxlab.FairSweep)
    assert list(fair.names) == ["DoRA r=4 (PEFT)", "DoRA r=8 (PEFT)", "BitFit"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs: 1", "epoch: 1", r"unknown key 'epoch'; did you mean 'epochs'"),
        ("report_seeds", "report_seed", "unknown key 'report_seed'; did you mean 'report_seeds'"),
        ("epochs: 1", "protocol: fare", "protocol='fare' is unknown; choose fair or grid"),
        ("rank: [2, 8]", "rnk: 2", "method 'lora' has no setting 'rnk'; did you mean 'rank'"),
        ("rank: [2, 8]", "rank: 0", "rank=0 is not a positive integer"),
        ("method: lora,", "methd: lora,", "names no method; add method: lora"),
        ("method: lora,", "method: lorra,", "method='lorra' is unknown; did you mean 'lora'"),
        ("candidates:", "candidate:", "names no candidates"),
        ("epochs: 1", "epochs: [1", "is not YAML"),
        ("epochs: 1", "epochs: 0", "epochs=0 is not a positive whole number"),
        ("report_seeds: 4", "report_seeds: many", "report_seeds='many' is not a whole number"),
        ("  - {method: head}", "  - head", "is not a list of mappings"),
        ("  - {method: head}", "  - {method: 8}", "method=8 is not a name; write lora"),
        ("epochs: 1", "epochs: 1\nepochs: 2", "key 'epochs' stands twice"),
        ("{method: head}", "{method: head, method: full}", "key 'method' stands twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in FAIR
    with pytest.raises(vxlab.VxlabError, match=message):
        read(FAIR.replace(old, new), tmp_path)


def test_a_grid_needs_its_rates(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match="protocol: grid needs learning_rates"):
        read(GRID.replace("learning_rates: [1e-3, 1e-2]", ""), tmp_path)
    with pytest.raises(vxlab.VxlabError, match="unknown key 'report_seeds'"):
        read(GRID + "report_seeds: 3\n", tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"nowhere.yaml' cannot be read: No such file"):
        read_sweep(tmp_path / "nowhere.yaml")


def test_objects_of_python_are_not_made(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match="is not YAML"):
        read("candidates: !!python/object/apply:os.getcwd []", tmp_path)
