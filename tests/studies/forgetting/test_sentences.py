"""Sentences say where tuning lost, with the base's score, and what the intervals leave open."""

from typing import Any

import pandas as pd

from vxlab.studies.forgetting import FORGETTING_COLUMNS, MEAN_OF_TASKS, forgetting_conclusion


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    usual = {
        "metric": "acc",
        "base": 0.5,
        "runs": 2,
        "evaluated": 2,
        "p": 0.5,
        "p_holm": 1.0,
        "change": "",
        "gain": 0.3,
    }
    return pd.DataFrame([usual | row for row in rows], columns=list(FORGETTING_COLUMNS))


def row(name: str, task: str, less: float, **more: Any) -> dict[str, Any]:
    return {
        "candidate": name, "task": task, "score": 0.5 + less, "difference": less, "low": less - 0.05,
        "high": less + 0.05, **more,
    }  # fmt: skip


LOST = row("LoRA r=8", "piqa", -0.2, change="lost", p=0.001, p_holm=0.004)
SAME = row("VeRA r=64", "piqa", -0.01)
MEAN = row("LoRA r=8", MEAN_OF_TASKS, -0.1)


def test_a_loss_is_told_with_the_base_and_over_what() -> None:
    told = forgetting_conclusion(table(LOST, SAME, MEAN)).splitlines()
    assert told[0] == (
        "- **Tuning lost in 1 and gained in 0 of 2 comparisons** with the untuned base (2 candidates on piqa), after "
        "Holm."
    )
    assert told[1].startswith("- **Tuning lost**: LoRA r=8 on piqa, acc 0.300 against the untuned base's 0.500 (−0.200")
    assert told[2] == (
        "- Not told apart is not unchanged: of that 1 the interval reaches down to −0.060 (VeRA r=64 on piqa)."
    )
    assert told[3].startswith("- Change of the mean over the tasks, every task alike: LoRA r=8 −0.100, 95 % −0.150 to")


def test_no_change_is_said_and_what_was_not_evaluated() -> None:
    told = forgetting_conclusion(table(SAME | {"evaluated": 1}))
    assert "**No change on held-out tasks is seen**: none of 1 comparison (1 candidate on piqa)" in told
    assert "Evaluated in a part of the reported runs alone: VeRA r=64 on piqa 1 of 2." in told


def test_without_evaluations_nothing_is_said() -> None:
    lacking = table(SAME | {"p": None, "difference": None})
    assert forgetting_conclusion(lacking).startswith("No candidate was evaluated beside the untuned base")
