"""The allocations that the trial compares: what they cost, and that they are what their names say."""

import numpy as np
import pytest

import vxlab
from vxlab.adapters import Family
from vxlab.studies.advisor.trial import (
    RANDOM_DRAWS,
    TrialCell,
    one_module_allocation,
    random_allocation,
    roles_of,
    trial_cells,
)

SHAPES = {
    f"encoder.layer.{block}.{name}": shape
    for block in range(3)
    for name, shape in {
        "attention.self.query": (384, 384), "attention.self.value": (384, 384), "intermediate.dense": (1536, 384),
        "output.dense": (384, 1536),
    }.items()
}  # fmt: skip
FAMILIES = [vxlab.LoRA(rank=4), vxlab.VeRA(rank=64), vxlab.LoRAXS(rank=8)]


def cost(family: Family, ranks: dict[str, int]) -> int:
    return sum(type(family)(rank=rank).parameter_count(SHAPES[name]) for name, rank in ranks.items())


def budget(family: Family) -> int:
    return sum(family.parameter_count(shape) for shape in SHAPES.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_random_allocations_spend_the_budget_and_no_more(family: Family) -> None:
    whole = budget(family)
    spent = [cost(family, random_allocation(family, SHAPES, whole, draw)) / whole for draw in range(RANDOM_DRAWS)]
    assert max(spent) <= 1
    assert min(spent) > 0.95


@pytest.mark.parametrize("family", FAMILIES)
def test_random_allocations_differ_by_draw_and_come_again_by_seed(family: Family) -> None:
    drawn = [random_allocation(family, SHAPES, budget(family), draw) for draw in range(RANDOM_DRAWS)]
    assert len({tuple(sorted(each.items())) for each in drawn}) == RANDOM_DRAWS
    assert random_allocation(family, SHAPES, budget(family), 3) == drawn[3]
    ranks = np.array([[each.get(name, 0) for name in SHAPES] for each in drawn])
    assert (ranks.std(0) > 0).all()  # no layer is always the same


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("role", ["query", "up"])
def test_one_module_takes_the_whole_budget_evenly(family: Family, role: str) -> None:
    ranks = one_module_allocation(family, SHAPES, budget(family), role)
    assert roles_of(ranks) == [role]
    assert cost(family, ranks) <= budget(family)
    assert max(ranks.values()) - min(ranks.values()) <= 1


def test_a_role_that_is_not_there_or_a_budget_for_nothing_is_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match="role='gate'"):
        one_module_allocation(vxlab.LoRA(rank=1), SHAPES, 10_000, "gate")
    with pytest.raises(vxlab.VxlabError, match="not even rank 1"):
        one_module_allocation(vxlab.LoRA(rank=1), SHAPES, 10, "query")


def test_the_cells_are_those_registered() -> None:
    cells = trial_cells()
    assert len(cells) == len(set(cells)) == 27
    assert TrialCell("sst2", "vera", 64) in cells
    assert TrialCell("sst2", "vera", 64).family() == vxlab.VeRA(rank=64)
