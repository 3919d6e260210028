"""The index: as many threads and read-only places as there are."""

import contextlib
import os
import threading

import pytest
import torch
from toy_banks import make_bank, random_rows

from vxlab import AdapterBank, VxlabError
from vxlab.adapters.bank import index


def test_names_are_listed_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_CHUNK", 3)
    with make_bank(tmp_path / "bank", rows=8) as bank:
        assert [*bank] == [f"n{number:05d}" for number in range(8)]
        assert torch.equal(bank.rows_of([*bank]), random_rows(bank, 8))
        names = iter(bank)
        next(names)
        bank.remove("n00001")
        assert "n00007" in list(names)


def test_names_of_any_letters(tmp_path):
    names = ["Ånn", "ann", "安", "a'b\"c;--", "x" * 255, "%_", "🙂"]
    with make_bank(tmp_path / "bank") as bank:
        bank.add_many(names, random_rows(bank, len(names)))
        assert set(bank) == set(names)
        assert torch.equal(bank.rows_of(names), random_rows(bank, len(names)))


def test_threads_share_a_bank(tmp_path):
    with make_bank(tmp_path / "bank", rows=50) as bank:
        rows, wrong = random_rows(bank, 50), []

        def read(start: int) -> None:
            for number in range(start, start + 200):
                if not torch.equal(bank.rows_of([f"n{number % 50:05d}"])[0], rows[number % 50]):
                    wrong.append(number)

        threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        bank.add_many(["new"], rows[:1])
        for thread in threads:
            thread.join()
        assert not wrong


def test_threads_write_in_turn_and_are_not_seen_before_the_end(tmp_path):
    with make_bank(tmp_path / "bank", rows=5) as bank:
        tensors, seen = bank.get("n00003"), []

        def some(first: int):
            for number in range(5):
                seen.append(f"t{first}-0" in bank)
                yield tensors if number < 4 or first % 2 else {}

        def add(first: int) -> None:
            with contextlib.suppress(VxlabError):
                bank.add_many([f"t{first}-{number}" for number in range(5)], some(first))

        threads = [threading.Thread(target=add, args=(first,)) for first in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not any(seen)
        assert bank.verify() == len(bank) == 5 + 3 * 5


def test_what_adapters_come_from_does_not_write_itself(tmp_path):
    with make_bank(tmp_path / "bank", rows=2) as bank:

        def some():
            yield bank.get("n00001")
            bank.remove("n00001")

        with pytest.raises(VxlabError, match="make the list of them first"):
            bank.add_many(["a", "b"], some())
        assert [*bank] == ["n00000", "n00001"]
        assert bank.verify() == 2


def test_a_folder_that_cannot_be_written_is_read(tmp_path, monkeypatch):
    make_bank(tmp_path / "bank", rows=3).close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as on a disk mounted read-only
    with AdapterBank.open(tmp_path / "bank") as bank:
        assert len(bank) == 3
        assert not list((tmp_path / "bank").glob("index.sqlite-*"))
        with AdapterBank.open(tmp_path / "bank", writable=True) as writer:  # somebody else, who may write there
            writer.add_many(["new"], random_rows(writer, 1))
            assert len(bank) == 4
            writer.remove("new")
            assert len(bank) == 3
        assert bank.verify() == 3


def test_changes_beside_an_index_that_cannot_be_taken_in_are_not_passed_over(tmp_path, monkeypatch):
    with make_bank(tmp_path / "bank", rows=3) as bank:
        log = (tmp_path / "bank" / "index.sqlite-wal").read_bytes()
        assert log
        bank.close()
    (tmp_path / "bank" / "index.sqlite-wal").write_bytes(log)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(VxlabError, match="that were not yet taken in; open the bank once where it can be written"):
        AdapterBank.open(tmp_path / "bank")
