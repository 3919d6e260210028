"""Reading files: every format gives the same rows, and a broken file is named with its line."""

import json

import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.tabular import read_rows, read_splits, read_tsv

ROWS = [
    {"text": 'a "quoted, text', "label": "0"},
    {"text": "NA", "label": "1"},
    {"text": "naïve\u2028line", "label": "0"},
]


def _write(folder, suffix):
    path, frame = folder / f"train{suffix}", pd.DataFrame(ROWS)
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".tsv":
        lines = ["text\tlabel"] + [f"{row['text']}\t{row['label']}" for row in ROWS]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n", encoding="utf-8")
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_every_format_gives_the_same_rows(tmp_path, suffix):
    path = _write(tmp_path, suffix)
    assert read_rows(path).frame.to_dict("records") == ROWS
    assert read_splits(path)["train"].frame.to_dict("records") == ROWS
    assert read_splits(tmp_path)["train"].frame.to_dict("records") == ROWS


def test_rows_know_their_file_and_line(tmp_path):
    assert read_rows(_write(tmp_path, ".tsv")).where(1) == f"{tmp_path.name}/train.tsv, line 3"
    assert read_rows(_write(tmp_path, ".csv")).where(1) == f"{tmp_path.name}/train.csv, row 2"


@pytest.mark.parametrize("dev", ["dev", "valid", "val", "validation"])
def test_splits_are_found_by_their_usual_names(tmp_path, dev):
    for stem in ("train", dev, "test", "notes"):
        (tmp_path / f"{stem}.csv").write_text("text,label\na,0\n")
    assert set(read_splits(tmp_path)) == {"train", "validation", "test"}


def test_numbered_pieces_of_a_split_are_joined_in_order(tmp_path):
    (tmp_path / "data").mkdir()
    for piece in range(2):
        path = tmp_path / "data" / f"train-0000{piece}-of-00002.parquet"
        pd.DataFrame([{"text": f"piece {piece}", "label": piece}]).to_parquet(path)
    rows = read_splits(tmp_path)["train"]
    assert rows.frame["text"].tolist() == ["piece 0", "piece 1"]
    assert rows.frame.index.tolist() == [1, 2]


@pytest.mark.parametrize(("suffix", "separator"), [(".tsv", "\t"), (".csv", ",")])
def test_windows_line_ends_and_byte_order_mark_are_no_text(tmp_path, suffix, separator):
    path = tmp_path / f"train{suffix}"
    path.write_bytes(f"\ufefftext{separator}label\r\na{separator}1\r\n".encode())
    assert read_rows(path).frame.to_dict("records") == [{"text": "a", "label": "1"}]


def test_an_empty_tsv_field_is_a_text_and_an_empty_csv_cell_is_missing(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tlabel\n\t1\n")
    (tmp_path / "a.csv").write_text("text,label\n,1\n")
    assert read_rows(tmp_path / "a.tsv").frame["text"].tolist() == [""]
    assert read_rows(tmp_path / "a.csv").frame["text"].isna().tolist() == [True]


def test_a_malformed_tsv_line_is_named_or_left_out(tmp_path):
    path = tmp_path / "dev.tsv"
    path.write_text("text\tlabel\na\t0\nb\nc\t1\n")
    with pytest.raises(VxlabError, match=r"dev.tsv, line 3: 1 tab-separated fields where 2 are needed \(text, label\)"):
        read_tsv(path)
    rows = read_tsv(path, skip_malformed=True)
    assert rows.frame["text"].tolist() == ["a", "c"]
    assert rows.where(1).endswith("line 4")


def test_a_file_without_header_takes_the_columns_given(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("gj04\t1\t\tA sentence.\n")
    rows = read_tsv(path, columns=("source", "label", "mark", "sentence"))
    assert rows.frame.to_dict("records") == [{"source": "gj04", "label": "1", "mark": "", "sentence": "A sentence."}]
    assert rows.where(0).endswith("line 1")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", b"text,label\na,0\nb,1,2\n", r"train.csv: not a readable CSV file \(.*line 3"),
        ("train.csv", b"text,label\na,0,x\nb,1,y\n", r"train.csv: not a readable CSV file \(rows have more fields"),
        ("train.csv", b"", r"train.csv: not a readable CSV file"),
        ("train.csv", b"text,label\n\xff\xfe,0\n", r"train.csv: not a readable CSV file"),
        ("train.tsv", b"text\tlabel\n\xff\xfe\t0\n", r"train.tsv: not a readable UTF-8 text file"),
        ("train.jsonl", b'{"text": "a"}\n{"text": \n', r"train.jsonl, line 2: not JSON"),
        ("train.json", b'[{"text": "a"},', r"train.json: not JSON"),
        ("train.jsonl", b"[1, 2]\n", r"train.jsonl: every row must be an object"),
        ("train.parquet", b"PAR1 no", r"train.parquet: not a readable Parquet file"),
        ("train.pkl", b"x", r"train.pkl: cannot read .pkl; use .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VxlabError, match=message):
        read_rows(tmp_path / name)


def test_a_folder_without_train_says_what_it_holds(tmp_path):
    (tmp_path / "test.csv").write_text("text,label\na,0\n")
    with pytest.raises(VxlabError, match=r"no training file; name it train.csv.*the folder holds test.csv"):
        read_splits(tmp_path)


def test_two_files_for_one_split_are_refused(tmp_path):
    for name in ("dev.csv", "valid.csv", "train.csv"):
        (tmp_path / name).write_text("text,label\na,0\n")
    with pytest.raises(VxlabError, match=r"several files for validation: dev.csv, valid.csv; keep one"):
        read_splits(tmp_path)
