"""What an advice says of itself: no more than its interval holds, and what it does not know."""

import dataclasses

import pytest
from toy_advice import toy_advice

import vxlab


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (-0.03, 0.01, "Uniform rank 2 is as good here"),
        (-0.03, 0.13, "Take uniform rank 2, which is not shown to be worse"),
        (0.01, 0.13, "Take uniform rank 2, which is not shown to be worse"),
        (0.05, 0.13, "Take uniform rank 2, as ranks by layer differ too much"),
    ],
)
def test_uniform_ranks_are_as_good_only_where_no_gain_that_counts_is_possible(low, high, told):
    toy = toy_advice("uniform")
    advice = toy_advice("uniform", budgets=toy.budgets.assign(gain=(low + high) / 2, low=low, high=high))
    assert advice.sentence().startswith(told)
    assert f"({100 * low:+.1f} to".replace("-", "−") in advice.sentence()


@pytest.mark.parametrize("verdict", ["allocation", "uniform", "unknown"])
def test_it_says_that_another_head_may_change_it(verdict):
    said = toy_advice(verdict).sentence()
    assert "under one random head (seed 0)" in said
    assert said.count(". ") <= 2


def test_it_says_that_one_alpha_gives_each_rank_a_scale_of_its_own():
    toy = toy_advice()
    fixed = toy_advice(spec=dataclasses.replace(toy.spec, method=vxlab.LoRA(rank=2, alpha=16)))
    assert "α=16 makes another one at each rank" in fixed.sentence()
    assert "α" not in toy.sentence()
    assert fixed.method().alpha == 16
