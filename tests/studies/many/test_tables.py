"""Ratios are paired by round, and an interval needs six."""

import math

import pandas as pd
import pytest

from vxlab.studies.many import pace_table, throughput_table


def timed(one: list[float], mixed: list[float], peft: list[float]) -> pd.DataFrame:
    own = {"candidate": "LoRA r=8", "stage": "one pass", "rows": 4, "tokens": 16}
    return pd.DataFrame([own | {"one": one, "mixed": mixed, "peft": peft}])


def test_a_slow_moment_of_the_machine_that_touches_both_leaves_the_ratio() -> None:
    one = [1.0, 1.0, 10.0, 1.0, 1.0, 1.0]
    (row,) = throughput_table(timed(one, [2 * each for each in one], [6 * each for each in one])).to_dict("records")
    assert (row["speed"], row["speed_low"], row["speed_high"], row["over_peft"]) == (0.5, 0.5, 0.5, 3.0)
    assert (row["one"], row["mixed"], row["peft"], row["in_a_second"]) == (1.0, 2.0, 6.0, 2.0)


def test_what_peft_has_not_is_missing_and_few_rounds_have_no_interval() -> None:
    (row,) = throughput_table(timed([1.0, 1.0], [1.0, 2.0], [])).to_dict("records")
    assert row["speed"] == pytest.approx(0.75)
    missing = ("speed_low", "speed_high", "peft", "over_peft", "over_peft_low")
    assert all(math.isnan(row[name]) for name in missing)


def test_a_stack_that_was_not_timed_has_its_reason_and_no_number() -> None:
    own = {"candidate": "VeRA r=8", "texts": 8, "tokens": 24, "width": 2}
    rows = [
        own | {"alone": (3.0, 2.0), "stacked": (1.0, 1.0), "reason": ""},
        own | {"alone": (), "stacked": (), "reason": "no"},
    ]
    timed, untimed = pace_table(pd.DataFrame(rows)).to_dict("records")
    assert (timed["times_faster"], timed["alone"], timed["stacked"]) == (2.5, 2.5, 1.0)
    assert math.isnan(untimed["times_faster"])
    assert untimed["reason"] == "no"
