"""Rows on the model's device: those asked for last."""

import pytest
import torch
from torch import Tensor
from toy_banks import make_bank, random_rows

from vxlab.adapters.bank.device_rows import DeviceRows, default_slots
from vxlab.errors import VxlabError


@pytest.fixture
def bank(tmp_path):
    with make_bank(tmp_path / "bank", rows=6) as made:
        yield made


def kept_rows(bank, slots: int) -> tuple[DeviceRows, list[str]]:
    """Return the rows and, filled as they are used, the names that were read from the bank."""
    read: list[str] = []

    def telling(names):
        read.extend(names)
        return bank._store.read(names)

    return DeviceRows(bank._store.find, telling, slots, torch.empty(0, bank.layout.width)), read


@pytest.mark.parametrize("slots", [0, 1, 2, 3, 6, 9])
def test_rows_are_the_banks_whatever_was_asked_for_before(bank, slots):
    rows, _ = kept_rows(bank, slots)
    expected: Tensor = random_rows(bank, 6)
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        count = int(torch.randint(1, 7, (1,), generator=generator))
        chosen = torch.randperm(6, generator=generator)[:count]
        assert torch.equal(rows.take([f"n0000{number}" for number in chosen]), expected[chosen])
        assert len(rows._kept) <= slots
        assert sorted(rows._kept.values()) == list(range(len(rows._kept)))


def test_the_row_asked_for_longest_ago_goes_first(bank):
    rows, read = kept_rows(bank, 2)
    for names in (["n00000"], ["n00001"], ["n00000"], ["n00002"], ["n00000"], ["n00001"]):
        rows.take(names)
    assert read == ["n00000", "n00001", "n00002", "n00001"]
    rows.take(["n00001", "n00003", "n00000", "n00004"])  # more than there are slots
    assert read[4:] == ["n00003", "n00004"]


def test_a_name_that_went_is_not_served_from_memory(bank):
    rows, _ = kept_rows(bank, 3)
    rows.take(["n00000"])
    bank.remove("n00000")
    with pytest.raises(VxlabError, match="no adapter 'n00000'"):
        rows.take(["n00000"])


def test_rows_with_the_same_numbers_take_one_slot(bank):
    bank.add("twin", bank.get("n00000"))
    rows, read = kept_rows(bank, 3)
    both = rows.take(["twin", "n00000"])
    assert torch.equal(both[0], both[1])
    assert torch.equal(rows.take(["n00000", "twin"]), both)
    assert read == ["twin", "n00000"]


def test_on_a_cpu_the_files_are_memory():
    assert default_slots(torch.device("cpu"), 100, 4) == 0


@pytest.mark.gpu
def test_on_a_gpu_the_whole_bank_lies_there_if_it_fits(bank):
    device = torch.device("cuda")
    assert default_slots(device, 6, bank.layout.row_bytes) == 6
    assert default_slots(device, 10**12, 1024) < 10**12
    rows = DeviceRows(bank._store.find, bank._store.read, 3, torch.empty(0, bank.layout.width, device=device))
    for names in (["n00001", "n00004"], ["n00004", "n00000", "n00001"]):
        assert torch.equal(rows.take(names).cpu(), bank.rows_of(names))
