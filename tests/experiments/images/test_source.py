"""Where images are, and what tells that their bytes have changed."""

import hashlib
import os

import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.images import ImageSource


def test_bytes_come_from_a_file_a_row_or_what_reads_the_row(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    sources = (
        ImageSource("a", tmp_path / "a"),
        ImageSource("row 1", content=b"abc"),
        ImageSource("row 2", content=lambda: b"abc"),
    )
    assert {source.read() for source in sources} == {b"abc"}
    assert {source.sha256() for source in sources} == {hashlib.sha256(b"abc").hexdigest()}
    assert ImageSource("row 3").read() == b""


def test_a_files_state_changes_with_it_and_a_row_has_its_stamp(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    source = ImageSource("a", file)
    before = source.state
    assert before == source.state
    os.utime(file, ns=(1, 1))
    assert source.state != before
    file.unlink()
    assert source.state is None
    assert (ImageSource("row", content=b"a").state, ImageSource("row", content=b"a", stamp="1").state) == (None, "1")


@pytest.mark.parametrize("name", ["no", "n\0o", "x" * 300])
def test_what_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(VxlabError, match=r"photos/1.jpg: not readable"):
        ImageSource("photos/1.jpg", tmp_path / name).read()
