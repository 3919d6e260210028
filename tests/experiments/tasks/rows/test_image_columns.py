"""Images in the cells of tables: read when they are needed, as many rows of a file at once as it keeps together."""

import io
from concurrent.futures import ThreadPoolExecutor

import datasets
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from vxlab.errors import VxlabError
from vxlab.experiments.images import decode_image
from vxlab.experiments.tasks.rows import image_columns, read_rows, read_splits


def picture(shade):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write(path, kind=None, rows=60, group=10):
    kind = kind or pyarrow.binary()
    images = pyarrow.array([picture(row) for row in range(rows)], type=kind)
    table = pyarrow.table({"label": [row % 2 for row in range(rows)], "photo": images})
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    return path


def shades(sources):
    with ThreadPoolExecutor(6) as pool:
        return [image.getpixel((0, 0))[0] for image in pool.map(decode_image, sources)]


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary()])
def test_a_parquet_files_images_are_not_read_before_they_are_needed_and_then_by_groups_of_rows(
    tmp_path, kind, monkeypatch
):
    read = []
    group = image_columns._Cells._group
    monkeypatch.setattr(image_columns._Cells, "_group", lambda self, number: read.append(number) or group(self, number))
    rows = read_rows(write(tmp_path / "train.parquet", kind))
    assert read == [0]  # to see whether its bytes are images
    sources = rows.frame["photo"].tolist()
    assert [decode_image(source).getpixel((0, 0))[0] for source in sources] == list(range(60))
    assert read == list(range(6))
    assert shades(sources[::-1]) == list(range(60))[::-1]
    assert rows.frame["label"].tolist() == [0, 1] * 30
    assert sources[7].place.endswith("/train.parquet, row 8")


def test_images_may_be_paths_beside_a_file_within_the_hubs_layout(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(picture(77))
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    cells = [{"bytes": None, "path": "images/1.png"}, {"bytes": picture(3), "path": "elsewhere.png"},
             {"bytes": None, "path": "images/2.png"}, {"bytes": None, "path": None}]  # fmt: skip
    table = pyarrow.table({"image": pyarrow.array(cells, type=kind)})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    sources = read_rows(tmp_path / "train.parquet").frame["image"].tolist()
    assert shades(sources[:2]) == [77, 3]
    with pytest.raises(VxlabError, match=r"train.parquet, row 3, images/2.png: not readable"):
        sources[2].read()
    assert sources[3].read() == b""


def test_sound_and_other_bytes_are_no_images(tmp_path):
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    sound = pyarrow.array([{"bytes": b"RIFF0000WAVE", "path": None}] * 3, type=kind)
    table = pyarrow.table({"audio": sound, "code": pyarrow.array([b"abc"] * 3), "empty": pyarrow.array([b""] * 3)})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    assert image_columns.parquet_images(tmp_path / "train.parquet", "here") == ({}, {})


def test_a_file_that_is_gone_when_its_images_are_read_is_named(tmp_path):
    path = write(tmp_path / "train.parquet")
    sources = read_rows(path).frame["photo"].tolist()
    path.unlink()
    with pytest.raises(VxlabError, match=r"train.parquet, row 41: not readable"):
        sources[40].read()


def test_a_pieces_other_names_of_classes_are_refused(tmp_path):
    for piece, names in enumerate((["a", "b"], ["b", "a"])):
        features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
        made = datasets.Dataset.from_dict({"text": ["x", "y"], "label": [0, 1]}, features=features)
        made.to_parquet(tmp_path / f"train-0000{piece}-of-00002.parquet")
    with pytest.raises(VxlabError, match=r"train-00001-of-00002.parquet: other names of classes than .*train-00000"):
        read_splits(tmp_path)


def test_a_table_of_images_alone_keeps_its_rows(tmp_path):
    pd.DataFrame({"photo": [picture(row) for row in range(5)]}).to_parquet(tmp_path / "a.parquet")
    frame = read_rows(tmp_path / "a.parquet").frame
    assert (list(frame), list(frame.index)) == (["photo"], [1, 2, 3, 4, 5])
