"""A bank whose writer is killed, has readers beside it, or finds the disk full: nothing acknowledged is lost."""

import os

import bank_children
import pytest
from toy_banks import make_bank

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


@pytest.fixture
def folder(tmp_path):
    make_bank(tmp_path / "bank").close()
    return tmp_path / "bank"


def test_twenty_kills_lose_nothing_that_was_acknowledged(folder):
    told = bank_children.run("kill_while_adding", folder, 20)
    assert told["added"] > 100
    assert told["kept"] >= told["added"] - told["removing"]


def test_a_kill_at_any_step_of_adding_or_compacting_leaves_all_or_nothing(folder):
    steps = bank_children.run("kill_at_every_step", folder)
    assert steps["adding"] > 10
    assert steps["compacting"] > 15


def test_readers_see_whole_rows_while_one_process_adds_removes_and_compacts(folder):
    told = bank_children.run("read_while_adding", folder, 2)
    assert told["kept"] == told["added"] * 19 / 20
    for reader in told["readers"]:
        assert not reader["wrong"]
        assert reader["reads"] > 3
        assert reader["most"] > 20


def test_a_full_disk_leaves_the_bank_as_it_was(folder):
    refused = bank_children.run("fill_the_disk", folder)["refused"]
    assert len(refused) > 5
    assert all("room on the disk" in each for each in refused)


def test_a_forked_process_reads_and_does_not_write(folder):
    with make_bank(folder.parent / "other") as bank:
        names = ["ann", "ben"]
        bank.add_many(names, bank_children.rows_of(names, bank.layout.width))
    assert bank_children.run("read_in_a_fork", folder.parent / "other") == {"status": 0, "there": 3}
