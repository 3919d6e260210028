"""Sentences on cost: computed from the numbers, and silent where the quartiles overlap."""

import pytest
import toy_costs as toy

from vxlab.experiments.cost_conclusions import cost_conclusion, left_out, measured
from vxlab.experiments.rank_costs import FULL


def _sentences(table):
    return [line.removeprefix("- ") for line in cost_conclusion(table).splitlines()]


def _with(label, **changed):
    table = toy.costs()
    for column, value in changed.items():
        table.loc[table["label"] == label, column] = value
    return table


def test_what_rank_costs_is_told_for_each_method():
    lora, vera, xs, *_ = _sentences(toy.costs())
    assert lora == (
        "**LoRA**: a step takes from 1.10 (1.08 to 1.12) frozen passes at r=1 to 1.20 (1.18 to 1.22) frozen passes at "
        "r=64, **+9 %** for 64 times the rank."
    )
    assert "**+67 %** for 256 times the rank" in vera
    assert xs.startswith("**LoRA-XS**: ")


def test_ranks_whose_quartiles_overlap_cannot_be_told_apart():
    lora = _sentences(toy.costs(spread=0.06))[0]
    assert lora.endswith("; the two cannot be told apart.")
    assert "%" not in lora


def test_cheap_storage_costs_compute_from_the_first_rank_beyond_the_usual_loras_quartiles():
    sentence = _sentences(toy.costs())[3]
    assert sentence == (
        "**When cheap storage costs compute**: beside LoRA r=8 (1.12 (1.10 to 1.14) frozen passes, 1.3 MB) VeRA is "
        "slower from r=256 on: 1.30 (1.28 to 1.32) frozen passes, +16 % time, for 126.0 kB on disk (9 % of it). "
        "Up to r=64 (97.6 kB, 7 % of it) no difference in time is seen."
    )


def test_storage_that_never_costs_time_is_told_so():
    rows = [row for row in toy.ROWS if row[:2] not in (("VeRA", 256), ("VeRA", 1024))]
    sentence = _sentences(toy.costs(rows))[3]
    assert "no VeRA measured is slower, up to r=64 (1.14 (1.12 to 1.16) frozen passes, 97.6 kB, 7 % of it)." in sentence


def test_storage_that_always_costs_time_is_told_so():
    rows = [row for row in toy.ROWS if row[:2] not in (("VeRA", 4), ("VeRA", 64))]
    assert _sentences(toy.costs(rows))[3].endswith("No lower rank was measured.")


def test_the_nearest_rank_stands_in_for_the_usual_one():
    rows = [row for row in toy.ROWS if row[:2] != ("LoRA", 8)]
    assert "beside LoRA r=1 (" in _sentences(toy.costs(rows))[3]  # log2: 3 below, and 64 is 3 above; the first wins


def test_vera_is_told_beside_full_fine_tuning():
    assert _sentences(toy.costs())[4] == (
        "Full fine-tuning takes 1.35 (1.33 to 1.37) frozen passes; VeRA is slower than it from r=1024 on "
        "(1.80 (1.78 to 1.82) frozen passes)."
    )
    near = _with("VeRA r=256", ratio=1.34, ratio_low=1.32, ratio_high=1.36)
    assert (
        "; VeRA cannot be told from it at r=256 (1.34 (1.32 to 1.36) frozen passes) and is slower than it from r=1024"
        in (_sentences(near)[4])
    )
    faster = _with(FULL, ratio=2.0, ratio_low=1.99, ratio_high=2.01)
    assert _sentences(faster)[4].endswith("; every VeRA measured is faster.")


def test_memory_runs_from_the_least_to_the_most():
    assert _sentences(toy.costs())[5] == (
        "Memory at a step's peak runs from 310 MiB (VeRA r=4) to 420 MiB (LoRA r=64); full fine-tuning needs 560 MiB."
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
    assert len(measured(table)) == len(table) - 2
    assert "r=1024" not in cost_conclusion(table)
    assert "Full fine-tuning" not in cost_conclusion(table)
    assert left_out(toy.costs()) == ""


def test_a_smoke_run_draws_no_conclusion():
    said = cost_conclusion(toy.costs(), scale="smoke")
    assert said.startswith("> ⚠ **Smoke run.**")
    assert said.endswith("**Its numbers mean nothing.**")
