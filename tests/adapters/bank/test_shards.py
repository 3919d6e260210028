"""Shards: filled in turn, never over another's file, and cut back to what counts."""

import pytest
import torch
from safetensors import safe_open
from toy_banks import make_bank, random_rows

from vxlab import AdapterBank, VxlabError
from vxlab.adapters.bank import shards


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 3 * 834 * 4)


def shapes(folder):
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found[path.name] = file.get_slice("rows").get_shape()
    return found


def test_rows_go_on_in_a_new_shard_where_one_is_full(small, tmp_path):
    with make_bank(tmp_path / "bank", rows=5) as bank:
        bank.add_many(["o", "p", "q"], rows := random_rows(bank, 3, seed=1))
        whole = torch.cat((random_rows(bank, 5), rows))
        order = ["q", "n00000", "o", "n00004", "p", "n00003"]
        assert torch.equal(bank.rows_of(order), whole[[7, 0, 5, 4, 6, 3]])
        assert bank.verify() == 8
    assert [rows for rows, _ in shapes(tmp_path / "bank").values()] == [3, 3, 2]
    with AdapterBank.open(tmp_path / "bank", writable=True) as bank:
        bank.add_many(["r", "s"], rows[:2])
        assert [rows for rows, _ in shapes(tmp_path / "bank").values()] == [3, 3, 3, 1]


def test_compacting_leaves_shards_alone_that_hold_no_removed_rows(small, tmp_path):
    with make_bank(tmp_path / "bank", rows=8) as bank:
        before = (tmp_path / "bank" / "rows-000002.safetensors").stat()
        for name in ("n00000", "n00001", "n00007"):
            bank.remove(name)
        assert bank.compact() == 3
        after = (tmp_path / "bank" / "rows-000002.safetensors").stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        kept = [2, 3, 4, 5, 6]
        assert torch.equal(bank.rows_of([*bank]), random_rows(bank, 8)[kept])
        assert bank.compact() == 0
    assert [rows for rows, _ in shapes(tmp_path / "bank").values()] == [3, 2]


def test_an_emptied_bank_and_its_numbers(tmp_path):
    with make_bank(tmp_path / "bank", rows=2) as bank:
        for name in [*bank]:
            bank.remove(name)
        with AdapterBank.open(tmp_path / "bank") as reader:
            assert bank.compact() == 2
            assert len(reader) == 0
            assert shapes(tmp_path / "bank") == {}
            bank.add_many(["new"], random_rows(bank, 1, seed=2))
            assert torch.equal(reader.rows_of(["new"]), random_rows(bank, 1, seed=2))
    assert list(shapes(tmp_path / "bank")) == ["rows-000002.safetensors"]  # no number is given twice


def test_another_file_with_a_shards_name_stays(tmp_path):
    with make_bank(tmp_path / "bank", rows=2) as bank:
        (tmp_path / "bank" / "rows-000007.safetensors").write_text("mine")
        bank.remove("n00000")
        bank.compact()
        assert (tmp_path / "bank" / "rows-000007.safetensors").read_text() == "mine"
        assert (tmp_path / "bank" / "rows-000008.safetensors").exists()
        assert bank.verify() == 1


def test_what_a_killed_writer_left_behind_the_last_row_is_cut_off(tmp_path):
    make_bank(tmp_path / "bank", rows=2).close()
    path = tmp_path / "bank" / "rows-000001.safetensors"
    before = path.read_bytes()
    path.write_bytes(before.replace(b" 2,", b" 9,", 1) + b"x" * 5000)
    with AdapterBank.open(tmp_path / "bank") as bank:
        assert bank.verify() == 2  # a reader passes over it
    with AdapterBank.open(tmp_path / "bank", writable=True) as bank:
        assert bank.verify() == 2
        assert path.read_bytes() == before


def test_shards_that_changed_places_are_told_apart(small, tmp_path):
    make_bank(tmp_path / "bank", rows=6).close()
    one, two = (tmp_path / "bank" / f"rows-00000{number}.safetensors" for number in (1, 2))
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    with pytest.raises(VxlabError, match=r"rows-000001\.safetensors is no shard of this bank"):
        AdapterBank.open(tmp_path / "bank")
