"""Reading files: every format gives the same rows, and a broken file is named with its line."""

import json

import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows.files import read_rows, read_splits, read_tsv

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
    assert read_rows(_write(tmp_path, ".csv")).where(1) == f"{tmp_path.name}/train.csv, line 3"
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    assert read_rows(tmp_path / "a.jsonl").where(1) == f"{tmp_path.name}/a.jsonl, line 3"
    assert read_rows(_write(tmp_path, ".json")).where(1) == f"{tmp_path.name}/train.json, row 2"


@pytest.mark.parametrize("dev", ["dev", "valid", "val", "validation"])
def test_splits_are_found_by_their_usual_names(tmp_path, dev):
    for stem in ("train", dev, "test", "notes"):
        (tmp_path / f"{stem}.csv").write_text("text,label\na,0\n")
    assert set(read_splits(tmp_path)) == {"train", "validation", "test"}


@pytest.mark.parametrize("ends", [("", ""), ("-90bb85eab85fcfa8", "-1da17dfc1120ed1e")])
def test_numbered_pieces_of_a_split_are_joined_in_order(tmp_path, ends):
    (tmp_path / "data").mkdir()
    for piece, end in enumerate(ends):
        path = tmp_path / "data" / f"train-0000{piece}-of-00002{end}.parquet"
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
        ("train.csv", b"text,label\na,0\nb,1,2\n", r"train.csv, line 3: 3 fields where 2 are needed \(text, label\)"),
        ("train.csv", b"text,label\na,0,x\nb,1,y\n", r"train.csv, line 2: 3 fields where 2 are needed"),
        ("train.csv", b"text;label\na;0\n", r"train.csv, line 1: CSV separates fields by commas, and here is ';'"),
        (
            "train.csv",
            b"text;label\na, b;0\n",
            r"line 1: .* here is ';' \(text;label\); pandas.read_csv\(FILE, sep",
        ),
        ("train.csv", b"text,label\n\xe9t\xe9,0\n", r"train.csv, line 2: not UTF-8 text \(byte 0xe9\); save the file"),
        ("train.tsv", b"text\tlabel\n\xff\xfe\t0\n", r"train.tsv, line 2: not UTF-8 text \(byte 0xff\)"),
        ("train.csv", "text,label\na,0\n".encode("utf-16"), r"train.csv: the file is UTF-16; save it as UTF-8"),
        ("train.tsv", "text\tlabel\n".encode("utf-16-le"), r"train.tsv, line 1: a NUL byte, so no text file"),
        ("train.csv", b"text,label\na\0b,0\n", r"train.csv, line 2: a NUL byte"),
        ("train.jsonl", b'{"text": "a"}\n{"text": \n', r"train.jsonl, line 2: not JSON"),
        ("train.json", b'[{"text": "a"},', r"train.json: not JSON"),
        ("train.jsonl", b"[1, 2]\n", r"train.jsonl, row 1: every row must be an object"),
        (
            "train.json",
            b'{"data": [\n{"text": "a"}\n]}',
            r"train.json: the file is one object; write a list of objects",
        ),
        (
            "train.json",
            b'{"text": {"0": "a"}, "label": {"0": 1}}',
            r"is one object; .* pandas' to_json\(NEW, orient",
        ),
        ("train.jsonl", b'{"text": "a"}\n{"text": "b", "text": "c"}', r"line 2: not JSON \(key 'text' stands twice"),
        ("train.jsonl", b'{"te\\ud800xt": "a"}', r"train.jsonl, line 1: not JSON \('utf-8' codec can't encode"),
        ("train.json", b"[" * 100_000, r"train.json: not JSON of rows \(nested too deeply\)"),
        ("train.jsonl", b'{"label": ' + b"1" * 5000 + b"}", r"train.jsonl, line 1: not JSON \(Exceeds the limit"),
        ("train.parquet", b"", r"train.parquet: not a readable Parquet file"),
        ("train.csv.gz", b"x", r"cannot read .gz; unpack it first, and use .csv"),
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


def _csv(tmp_path, *rows):
    path = tmp_path / "train.csv"
    path.write_text("\n".join(["text,label", *(f"film {row},{row % 2}" for row in range(5)), *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (['"stray,1', "b,0", "c,1"], r"train.csv, line 7: the row that begins here opens a quote that is never closed"),
        (['"stray,1', "b,0", '"c, d",1'], r"line 7: the row that begins here has a quote, in line 9, that closes a fi"),
        (['"stray,1', "b,0", 'he said "wow",1'], r"line 7: the row that begins here has a quote, in line 9, that clo"),
        (
            ['"Great" film,1'],
            r"line 7: the row that begins here has a quote, in line 7, .*write a quote in a text as \"\"",
        ),
    ],
)
def test_a_stray_quote_is_refused_with_its_line(tmp_path, rows, message):
    with pytest.raises(VxlabError, match=message):
        read_rows(_csv(tmp_path, *rows))


def test_quoted_lines_that_read_as_rows_are_counted(tmp_path):
    rows = read_rows(_csv(tmp_path, '"stray,1', "b,0", "c,1", 'd",0'))
    assert len(rows.frame) == 6
    (note,) = rows.notes
    assert note.endswith(
        "1 quoted text(s) hold lines that read as rows of their own (first: lines 7 to 10); "
        "if the quotes are stray, 3 row(s) are lost"
    )


@pytest.mark.parametrize(
    "text", ["two\nlines", 'a "quote"\nand, a comma\n', "1,0\nwas the score", "a\r\nb", "Dear,\nI liked it, a lot"]
)
def test_a_text_of_several_lines_is_read_as_it_was_written(tmp_path, text):
    path = tmp_path / "train.csv"
    frame = pd.DataFrame({"text": ["a", text, "b"], "label": ["0", "1", "1"]})
    frame.to_csv(path, index=False)
    rows = read_rows(path)
    assert rows.frame.to_dict("list") == frame.to_dict("list")
    assert rows.notes == ()
    assert rows.where(2) == f"{tmp_path.name}/train.csv, line {4 + text.count(chr(10))}"


def test_a_long_text_and_rows_without_their_last_fields_are_read(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(f"text,label,note\n{'long ' * 40_000},0,\n\nb,1\n")
    assert read_rows(path).frame.isna().to_dict("list") == {
        "text": [False, False], "label": [False, False], "note": [True, True],
    }  # fmt: skip
    assert read_rows(path).where(1).endswith("line 4")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_lines_may_end_as_on_old_macs(tmp_path, suffix):
    path = _write(tmp_path, suffix)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    assert read_rows(path).frame.to_dict("records") == ROWS


@pytest.mark.parametrize(("suffix", "separator"), [(".tsv", "\t"), (".csv", ",")])
def test_names_of_columns_are_read_as_they_are_but_for_spaces(tmp_path, suffix, separator):
    path = tmp_path / f"train{suffix}"
    path.write_text(separator.join(["", " text", "label ", "text", ""]) + "\n" + separator.join("01234") + "\n")
    assert list(read_rows(path).frame) == ["", "text", "label", "text", ""]


def test_quotes_in_a_tsv_file_that_were_written_to_mean_something_are_counted(tmp_path):
    path = tmp_path / "train.tsv"
    pd.DataFrame({"text": ['he said "hi"', '"', "b"], "label": [0, 1, 1]}).to_csv(path, sep="\t", index=False)
    (note,) = read_rows(path).notes
    assert note.endswith('2 fields stand between quotes ("), which mean nothing in TSV and stay part of the text')


def test_files_and_splits_may_be_named_in_capital_letters(tmp_path):
    for name in ("Train.CSV", "DEV.csv"):
        (tmp_path / name).write_text("text,label\na,0\n")
    assert set(read_splits(tmp_path)) == {"train", "validation"}


def test_data_files_that_are_not_used_are_named(tmp_path):
    for name in ("train.csv", "tests.csv", "README.md", "metadata.json"):
        (tmp_path / name).write_text("text,label\na,0\n")
    note = f"{tmp_path.name}: not used, being named neither train, validation nor test: tests.csv"
    assert read_splits(tmp_path)["train"].notes == (note,)


def test_pieces_that_are_lacking_or_unlike_are_refused(tmp_path):
    (tmp_path / "train-00000-of-00002.csv").write_text("text,label\na,0\n")
    with pytest.raises(VxlabError, match="1 of the 2 pieces of train; fetch the others"):
        read_splits(tmp_path)
    (tmp_path / "train-00001-of-00002.csv").write_text("review,label\na,0\n")
    with pytest.raises(VxlabError, match=r"00001-of-00002.csv: columns review, label, where .*00000.* has text, label"):
        read_splits(tmp_path)


def test_two_copies_of_one_piece_are_no_two_pieces(tmp_path):
    for end in ("90bb85eab85fcfa8", "1da17dfc1120ed1e"):
        (tmp_path / f"train-00000-of-00002-{end}.csv").write_text("text,label\na,0\n")
    with pytest.raises(VxlabError, match="several files for train"):
        read_splits(tmp_path)


def test_what_is_no_file_is_refused_with_the_systems_reason(tmp_path):
    (tmp_path / "train.csv").symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(VxlabError, match=r"train.csv: not readable \(No such file"):
        read_splits(tmp_path)
    (tmp_path / "train.csv").unlink()
    (tmp_path / "train.csv").mkdir()
    with pytest.raises(VxlabError, match=r"train.csv: not readable \(Is a directory"):
        read_splits(tmp_path)


def test_a_damaged_parquet_file_is_refused(tmp_path):
    whole = _write(tmp_path, ".parquet").read_bytes()
    for number, content in enumerate((whole[: len(whole) // 2], whole[:10] + b"\xff" * 60 + whole[70:])):
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(content)
        with pytest.raises(VxlabError, match=r"not a readable Parquet file \(."):
            read_rows(path)
