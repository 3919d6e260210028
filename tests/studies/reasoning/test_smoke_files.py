"""The toy sets have one right answer each, and are the same everywhere."""

import json
from pathlib import Path

from vxlab.studies.reasoning import smoke_sets
from vxlab.studies.reasoning.smoke_files import ROWS


def read(folder: str, split: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (Path(folder) / f"{split}.jsonl").read_text().splitlines()]


def test_every_sum_is_right_and_no_question_stands_twice() -> None:
    _, places = smoke_sets()
    sums = [row for split in ROWS for row in read(places["toy_sums"], split)]
    assert len({row["prompt"] for row in sums}) == len(sums) == sum(ROWS.values())
    for row in sums:
        a, b = row["prompt"].partition(". ")[2].removesuffix(" =").split(" + ")
        assert int(a) + int(b) == int(row["answer"])


def test_every_question_has_its_right_answer_once() -> None:
    _, places = smoke_sets()
    for row in read(places["toy_choices"], "test"):
        assert len(set(row["choices"])) == 3
        assert 0 <= int(row["label"]) < 3
