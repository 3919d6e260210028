import pytest
import torch

from vxlab.adapters.stacked.slots import Slots
from vxlab.errors import VxlabError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "rows", [[], [0, 4], [-1], [1.0], [True], "12", None, [[1, 2]], torch.tensor(1), ["ann"], [1, None]], ids=repr
)
def test_what_is_no_slot_is_refused(rows):
    with pytest.raises(VxlabError, match=r"rows=.*0 \(no adapter\) to 3"), Slots(3).assign(rows, CPU):
        pass


def test_rows_are_in_force_within_their_context_alone():
    slots = Slots(3)
    with slots.assign([1, 2], CPU):
        with slots.assign(torch.tensor([3, 3, 0], dtype=torch.int32), CPU):
            assert slots.rows.tolist() == [3, 3, 0]
        assert slots.rows.tolist() == [1, 2]
    assert slots.rows is None


def test_a_row_without_an_adapter_takes_nothing_of_the_first_slot():
    slots = Slots(2)
    with slots.assign([0, 2], CPU):
        found = slots.gather(torch.tensor([[torch.nan, torch.nan], [1.0, 2.0]]))
    assert found.tolist() == [[0, 0], [1, 2]]


def test_inputs_fall_into_equal_parts_or_rows():
    slots = Slots(3)
    assert slots.groups(torch.ones(6, 2, 4), "q") == 3
    for x in (torch.ones(7, 2, 4), torch.ones(0, 2, 4), torch.ones(4)):
        with pytest.raises(VxlabError, match=r"`q` was given .*3 equal parts"):
            slots.groups(x, "q")
    with slots.assign([1, 2], CPU):
        assert slots.groups(torch.ones(2, 5, 4), "q") == 2
        with pytest.raises(VxlabError, match=r"`q` was given \(3, 5, 4\) in a batch of 2 rows, by rows="):
            slots.groups(torch.ones(3, 5, 4), "q")
