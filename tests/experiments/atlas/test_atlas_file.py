"""The file: whole or not at all, of a known format, and what was asked in it once."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.atlas import atlas_file
from vxlab.experiments.atlas.atlas_file import FORMAT, read_atlas, write_atlas


def _rows(count: int, asked: bytes = b"asked") -> list[dict[str, object]]:
    texts = dict.fromkeys(("status", "spec", "identity", "record"), "{}")
    return [{**texts, "key": f"{i:064}", "at": 1.0, "answers": b"answer", "asked": asked} for i in range(count)]


def test_rows_come_back(tmp_path: Path) -> None:
    rows = [*_rows(3), {**_rows(1)[0], "key": "z", "at": None, "answers": None, "asked": None}]
    write_atlas(tmp_path / "new" / "a.parquet", rows[::-1])
    assert read_atlas(tmp_path / "new" / "a.parquet") == rows


def test_what_was_asked_stands_there_once(tmp_path: Path) -> None:
    noise = bytes(i * i % 251 for i in range(100_000))
    sizes = []
    for count in (1, 50):
        write_atlas(tmp_path / "a.parquet", _rows(count, noise))
        sizes.append((tmp_path / "a.parquet").stat().st_size)
    assert sizes[1] < sizes[0] + 5_000


@pytest.mark.parametrize(
    ("mark", "todo"),
    [
        (str(FORMAT + 1), "upgrade vxlab"),
        ("0", "pack it anew from its store: vxlab atlas"),
        ("x", "pack it anew"),
    ],
)
def test_another_format_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str, todo: str
) -> None:
    monkeypatch.setattr(atlas_file, "FORMAT", mark)
    write_atlas(tmp_path / "a.parquet", _rows(1))
    monkeypatch.undo()
    with pytest.raises(VxlabError, match=rf"a\.parquet' has format '{mark}', and this vxlab reads {FORMAT}; {todo}"):
        read_atlas(tmp_path / "a.parquet")


def test_what_is_no_atlas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VxlabError, match="is not there; name a file that vxlab atlas wrote"):
        read_atlas(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes(b"PAR1, but not quite")
    with pytest.raises(VxlabError, match="cannot be read: "):
        read_atlas(tmp_path / "a.parquet")
    pq.write_table(pa.table({"key": ["a"], "asked": [b""]}), tmp_path / "a.parquet")
    with pytest.raises(VxlabError, match="is Parquet and no atlas"):
        read_atlas(tmp_path / "a.parquet")
    write_atlas(tmp_path / "a.parquet", _rows(1))
    pq.write_table(pq.read_table(tmp_path / "a.parquet").drop_columns(["record", "at"]), tmp_path / "a.parquet")
    with pytest.raises(VxlabError, match="lacks the columns at, record"):
        read_atlas(tmp_path / "a.parquet")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VxlabError, match=r"a\.parquet' cannot be written: "):
        write_atlas(tmp_path / "file" / "a.parquet", _rows(1))
