"""Where a named set's files are found, and what is refused."""

import json
from pathlib import Path

import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.sets.set_files import read_set_files


def put(path: Path, *texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"text": text} for text in texts or (path.stem,)]
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text(json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows)))


def found(folder: Path, name: str = "arc_easy") -> dict[str, list[str]]:
    splits = read_set_files(folder, name)
    return {split: rows.frame["text"].tolist() for split, rows in splits.items()}


@pytest.mark.parametrize(
    "files",
    [
        ("arc_easy.train.jsonl", "arc_easy.test.jsonl"),
        ("ARC-Easy-Train.jsonl", "ARC-Easy_test_sample.jsonl"),
        ("ARC-e/train.json", "ARC-e/test.jsonl"),
        ("dataset/ARC-Easy/train.json", "dataset/ARC-Easy/test.json"),
        ("ARC-Easy/train-00000-of-00001.parquet", "ARC-Easy/test-00000-of-00001.parquet"),
        ("arc_easy/data/train.jsonl", "arc_easy/data/test.jsonl"),
        ("arc_easy/main/train.jsonl", "arc_easy/main/test.jsonl"),
        ("train.jsonl", "test.jsonl"),
        ("data/train.jsonl", "data/test.jsonl"),
    ],
)
def test_files_lie_as_people_keep_them(tmp_path, files):
    for name in files:
        put(tmp_path / name)
    put(tmp_path / "arc_challenge.train.jsonl")
    put(tmp_path / "ARC-Challenge" / "test.jsonl")
    put(tmp_path / "piqa.train.jsonl")
    assert found(tmp_path) == {"train": [Path(files[0]).stem], "test": [Path(files[1]).stem]}


def test_the_folder_may_be_the_sets_own_and_a_file_is_a_training_split(tmp_path):
    put(tmp_path / "ARC-Easy" / "validation.jsonl", "a", "b")
    assert found(tmp_path / "ARC-Easy") == {"validation": ["a", "b"]}
    assert found(tmp_path / "ARC-Easy" / "validation.jsonl") == {"train": ["a", "b"]}


def test_a_file_without_a_splits_name_may_be_known(tmp_path):
    put(tmp_path / "ft-training_set" / "commonsense_170k.json", "a")
    assert found(tmp_path, "commonsense_170k") == {"train": ["a"]}
    put(tmp_path / "math" / "math500.jsonl", "b")
    assert found(tmp_path, "math") == {"test": ["b"]}
    put(tmp_path / "MetaMathQA-395K.json", "c")
    assert found(tmp_path, "metamathqa") == {"train": ["c"]}


def test_a_folder_of_another_set_is_not_taken_for_this_one(tmp_path):
    put(tmp_path / "ARC-Challenge" / "train.jsonl")
    with pytest.raises(VxlabError, match=r"ARC-Challenge: no file of arc_easy; name it such as arc_easy.train.jsonl"):
        found(tmp_path / "ARC-Challenge")
    with pytest.raises(VxlabError, match=r"\(the folder holds ARC-Challenge\)"):
        found(tmp_path)


def test_no_folder_several_copies_and_several_files_of_a_split_are_refused(tmp_path):
    with pytest.raises(VxlabError, match=r"nowhere: no such folder \(VXLAB_SETS"):
        found(tmp_path / "nowhere")
    put(tmp_path / "arc_easy.test.jsonl")
    put(tmp_path / "ARC-Easy" / "test.json")
    with pytest.raises(VxlabError, match=r"several copies of arc_easy: arc_easy.test.jsonl, ARC-Easy/test.json"):
        found(tmp_path)
    put(tmp_path / "ARC-Easy" / "arc_easy.test.json")
    with pytest.raises(VxlabError, match=r"several files for test: test.json, arc_easy.test.json; keep one"):
        found(tmp_path)
    put(tmp_path / "arc-e.test.json")
    with pytest.raises(VxlabError, match=r"several files for test: arc-e.test.json, arc_easy.test.jsonl; keep one"):
        found(tmp_path)
