"""Runs are of one candidate where they differ by their seed alone, whatever they were computed by."""

from pathlib import Path
from typing import Any

import pytest
from toy_records import IDENTITY, key_of, stored_record, toy_spec

import vxlab
from vxlab.experiments.provenance.candidate_names import name_candidates


def _named(folder: Path, *runs: dict[str, Any]) -> list[str]:
    records = [stored_record(folder, key_of(number), **run) for number, run in enumerate(runs)]
    return list(name_candidates(records).values())


def test_a_seed_makes_no_other_candidate(tmp_path: Path) -> None:
    assert _named(tmp_path, {"spec": toy_spec(seed=0)}, {"spec": toy_spec(seed=1)}) == ["LoRA r=8"] * 2


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"spec": toy_spec(learning_rate=0.5)}, "learning_rate=0.5"),
        ({"identity": IDENTITY | {"task": "9f9f accuracy f1"}}, "data=9f9f"),
        ({"identity": IDENTITY | {"model": "9f9f"}}, "weights=9f9f"),
        ({"identity": IDENTITY | {"vxlab": "2.0"}}, "vxlab=2.0"),
        ({"identity": IDENTITY | {"processes": "2"}}, "processes=2"),
        ({"precision": "bfloat16"}, "precision=auto (bfloat16)"),
        ({"identity": IDENTITY | {"chat_template": "9f9f"}, "spec": toy_spec(chat_template="a.jinja")},
         "chat_template=a.jinja, chat_template's content=9f9f"),
    ],
)  # fmt: skip
def test_what_else_decides_the_numbers_makes_another(tmp_path: Path, changed: dict[str, Any], name: str) -> None:
    assert _named(tmp_path, {}, changed)[1] == f"LoRA r=8, {name}"


def test_a_seed_of_the_method_makes_another(tmp_path: Path) -> None:
    specs = [toy_spec(method=vxlab.VeRA(rank=64, seed=seed)) for seed in (0, 1)]
    assert _named(tmp_path, *({"spec": spec} for spec in specs)) == ["VeRA r=64, seed=0", "VeRA r=64, seed=1"]


def test_two_runs_of_one_candidate_and_seed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match="are both LoRA r=8 with seed 0; give each candidate one run a seed"):
        _named(tmp_path, {}, {})
