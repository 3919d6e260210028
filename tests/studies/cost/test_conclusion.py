"""Sentences on cost: computed from the numbers, and silent where steps are not told apart."""

import pytest
import toy_costs as toy

from vxlab.experiments.costs.by_rank import FULL
from vxlab.studies.cost.conclusion import cost_conclusion, left_out, measured_rows


def _sentences(table):
    return [line.removeprefix("- ") for line in cost_conclusion(table).splitlines()]


def test_what_rank_costs_is_told_for_each_method_as_a_ratio_over_rounds():
    lora, vera, xs, *_ = _sentences(toy.costs())
    assert lora == (
        "**LoRA**: a step at r=64 takes 1.09 times as long (1.09 to 1.09) as one at r=1, for 64 times the rank."
    )
    assert "takes 1.67 times as long (1.65 to 1.68) as one at r=4, for 256 times the rank" in vera
    assert xs.startswith("**LoRA-XS**: ")


def test_the_interval_is_of_the_rounds_ratios_and_not_of_each_ones_own():
    """A slow round makes both slow: their ratio is steadier than either."""
    table = toy.costs()
    slow = [1 + 0.5 * (i % 3) for i in range(11)]
    table["seconds"] = [tuple(a * b for a, b in zip(each, slow, strict=True)) for each in table["seconds"]]
    assert _sentences(table)[0] == _sentences(toy.costs())[0]


def test_ranks_whose_ratio_may_be_one_are_not_told_apart():
    noisy = toy.costs()
    noisy.loc[noisy["label"] == "LoRA r=1", "seconds"] = [tuple(1.15 + 0.1 * (-1) ** i for i in range(11))]
    assert _sentences(noisy)[0].endswith("times as long (0.95 to 1.15) as one at r=1: the two are not told apart.")


def test_too_few_rounds_tell_nothing_apart():
    table = toy.costs()
    table["seconds"] = [seconds[:5] for seconds in table["seconds"]]
    said = _sentences(table)
    assert said[0].endswith("(5 rounds, too few for an interval) as one at r=1: the two are not told apart.")
    assert "no VeRA is shown to be slower" in said[3]


def test_many_comparisons_ask_for_more_rounds_than_one():
    """Of seven rounds the interval of one ratio excludes 1, and Holm's correction for eleven does not."""
    table = toy.costs()
    table["seconds"] = [seconds[:7] for seconds in table["seconds"]]
    said = _sentences(table)
    assert said[0].endswith("(1.09 to 1.09) as one at r=1: the two are not told apart.")
    assert said[-1].startswith("Ratios are medians over 7 rounds with their own 95 % intervals;")


def test_cheap_storage_costs_compute_from_the_first_rank_shown_slower_than_the_usual_lora():
    sentence = _sentences(toy.costs())[3]
    assert sentence == (
        "**When cheap storage costs compute**: beside LoRA r=8 (1.33 MB on disk) VeRA is slower from r=256 on: 1.16 "
        "times as long (1.12 to 1.20), for 126 kB (9 % of it). Up to r=64 it is not shown to be: 1.02 times as long "
        "(0.98 to 1.05), for 97.6 kB (7 % of it)."
    )


def test_storage_that_never_costs_time_is_told_so():
    rows = [row for row in toy.ROWS if row[:2] not in (("VeRA", 256), ("VeRA", 1024))]
    sentence = _sentences(toy.costs(rows))[3]
    assert sentence.endswith(
        "no VeRA is shown to be slower, up to r=64: 1.02 times as long (0.98 to 1.05), for 97.6 kB (7 % of it)."
    )


def test_storage_that_always_costs_time_is_told_so():
    rows = [row for row in toy.ROWS if row[:2] not in (("VeRA", 4), ("VeRA", 64))]
    assert _sentences(toy.costs(rows))[3].endswith("No lower rank was measured.")


def test_the_nearest_rank_stands_in_for_the_usual_one():
    rows = [row for row in toy.ROWS if row[:2] != ("LoRA", 8)]
    assert "beside LoRA r=1 (" in _sentences(toy.costs(rows))[3]  # log2: 3 below, and 64 is 3 above; the first wins


def test_vera_is_told_beside_full_fine_tuning():
    assert _sentences(toy.costs())[4] == (
        "Beside full fine-tuning's, VeRA's step is faster up to r=256, 0.96 times as long (0.96 to 0.96); slower from "
        "r=1024 on, 1.33 times as long (1.33 to 1.34)."
    )
    table = toy.costs()
    table.loc[table["label"] == "VeRA r=256", "seconds"] = [tuple(1.35 + 0.02 * (-1) ** i for i in range(11))]
    near = _sentences(table)[4]
    assert "faster up to r=64, " in near
    assert "; not told apart at r=256, 1." in near
    assert (
        "slower"
        not in _sentences(toy.costs([(*row[:2], 2.0, *row[3:]) if row[0] == FULL else row for row in toy.ROWS]))[4]
    )


def test_memory_runs_from_the_least_to_the_most():
    assert _sentences(toy.costs())[5] == (
        "Memory at a step's peak, counted allocation by allocation, runs from 310 MiB (VeRA r=4) to 420 MiB (LoRA "
        "r=64); full fine-tuning needs 560 MiB."
    )


@pytest.mark.parametrize("method", ["LoRA", "VeRA", "LoRA-XS", FULL])
def test_a_method_that_was_not_measured_is_not_spoken_of(method):
    rows = [row for row in toy.ROWS if row[0] != method]
    assert f"**{method}**" not in cost_conclusion(toy.costs(rows))
    assert cost_conclusion(toy.costs(rows))


def test_rows_with_errors_are_left_out_and_said():
    table = toy.costs(errors={"VeRA r=1024": "out of memory", FULL: "CUDA out of memory"})
    assert (
        left_out(table)
        == "- Left out: **VeRA r=1024**. out of memory\n- Left out: **full fine-tuning**. CUDA out of memory"
    )
    assert len(measured_rows(table)) == len(table) - 2
    assert "r=1024" not in cost_conclusion(table)
    assert "full fine-tuning" not in cost_conclusion(table)
    assert left_out(toy.costs()) == ""


def test_a_smoke_run_draws_no_conclusion():
    said = cost_conclusion(toy.costs(), scale="smoke")
    assert said.startswith("> ⚠ **Smoke run.**")
    assert said.endswith("**Its numbers mean nothing.**")
