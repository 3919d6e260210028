"""What rules of thumb miss of the adapter that validation puts first."""

import pytest
from toy_task_grid import across

from vxlab.studies.atlas.rules import BY_CHANCE, OTHER_TASKS, rules_of_thumb

MEANS = {
    "LoRA 1 qv": [70.0, 70.0, 70.0], "LoRA 4 qv": [72.0, 72.0, 72.0], "LoRA 16 qv": [74.0, 74.0, 71.0],
    "full": [90.0, 90.0, 90.0],
}  # fmt: skip


def test_rules_choose_among_adapters_and_the_other_tasks_never_see_the_one():
    table = rules_of_thumb(across(MEANS)).set_index("rule")
    assert table.loc["the most parameters", "missed"] == pytest.approx((0 + 0 + 1) / 3)
    assert table.loc["LoRA of middle rank on query-value", "missed"] == pytest.approx(4 / 3)
    assert table.loc["the fewest parameters", ["missed", "share"]].tolist() == pytest.approx([10 / 3, 1])
    assert table.loc[BY_CHANCE, "missed"] == pytest.approx((2 + 2 + 1) / 3)
    other = table.loc[OTHER_TASKS]  # without the first or the second task r=4 and r=16 tie, and r=4 comes first
    assert (other["right"], other["n"], other["missed"]) == (0, 3, pytest.approx((2 + 2 + 1) / 3))
    assert table.loc["the most parameters", "right"] == 2
    assert "full" not in " ".join(table["chosen"])


def test_the_best_is_what_validation_puts_first():
    table = rules_of_thumb(across(MEANS, validation=lambda name, task: 1.0 if name == "LoRA 1 qv" else 0.5))
    assert table.set_index("rule").loc["the fewest parameters", "missed"] == 0
    assert table.iloc[0]["missed"] < 0  # a test score above that of validation's best is luck, and said


@pytest.mark.parametrize("means", [{"LoRA 4 qv": [1.0, 2.0]}, {"LoRA 4 qv": [1.0], "LoRA 1 qv": [2.0]}])
def test_one_adapter_or_one_task_tries_no_rule(means):
    assert rules_of_thumb(across(means)).empty


def test_a_share_of_a_difference_that_may_be_none_is_not_told():
    means = {"LoRA 1 qv": [70.0, 73.9], "LoRA 4 qv": [74.0, 70.0]}
    table = rules_of_thumb(across(means, validation=lambda name, task: 1.0 if name == "LoRA 4 qv" else 0.5))
    assert table.loc[table["rule"] == "the fewest parameters", "missed"].item() == pytest.approx(0.05)
    assert table["share"].isna().all()  # of a best that is 4.0 above the worst on one task, and 3.9 below on the other
