"""The made-up files are in the layouts that they stand for."""

import json
from pathlib import Path

from vxlab.studies.forgetting.smoke_instructions import write_smoke_instructions, write_smoke_questions


def test_instructions_have_alpacas_columns(tmp_path: Path) -> None:
    write_smoke_instructions(tmp_path / "a.json")
    rows = json.loads((tmp_path / "a.json").read_text())
    assert all(set(row) == {"instruction", "input", "output"} and row["output"] for row in rows)


def test_questions_have_one_right_answer_each(tmp_path: Path) -> None:
    write_smoke_questions(tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert {row["answerKey"] for row in rows} == set("ABCD")
    assert all(len(row["choices"]["text"]) == len(row["choices"]["label"]) == 4 for row in rows)
