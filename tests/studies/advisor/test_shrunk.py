"""The sentence on shrinking: enough is what is shown to be, and no test passes by luck among several."""

import pandas as pd
import pytest

import vxlab
from vxlab.studies.advisor.shrunk import Shrunk


def _shrunk(*rows: tuple[float, int, float, float], by_term: bool = False) -> Shrunk:
    """Return what is left at shares of kept parts, with differences and their standard errors."""
    table = pd.DataFrame(
        [
            {
                "share": share, "kept": kept, "rank_min": 0, "rank_median": kept / 2, "rank_max": kept,
                "score": 0.8 + difference, "difference": difference, "low": difference - 2 * error,
                "high": difference + 2 * error, "p": 0.5 if abs(difference) < 2 * error else 0.01, "error": error,
                "freedom": 400.0,
            }
            for share, kept, difference, error in [(1.0, 64, 0.0, 0.0), *rows]
        ]
    )  # fmt: skip
    return Shrunk("LoRA r=4", "accuracy", by_term, table, pd.DataFrame())


def test_the_smallest_rank_that_is_surely_enough_is_told():
    told = _shrunk((0.9, 20, -0.002, 0.004), (0.5, 4, -0.005, 0.005), (0.25, 1, -0.05, 0.01)).sentence()
    assert told == (
        "LoRA r=4, accuracy 80.0 %: of 64 singular values, 4 (50 % of the energy; ranks 0 to 4 by layer, median 2; "
        "−0.5 points, 95 % −1.5 to 0.5) would have been enough, surely within 2.0 points."
    )


def test_a_smaller_share_does_not_count_behind_one_that_failed():
    told = _shrunk((0.9, 20, -0.002, 0.004), (0.5, 4, -0.05, 0.005), (0.25, 1, 0.0, 0.001)).sentence()
    assert "of 64 singular values, 20 (90 % of the energy" in told


def test_what_is_merely_not_told_apart_is_not_called_enough():
    told = _shrunk((0.9, 20, 0.0, 0.03), (0.5, 4, -0.1, 0.03)).sentence()
    assert "20 (90 % of the energy" in told
    assert (
        "cannot be told from the whole, but on this test set no share that was tried is surely within 2.0 points"
        in told
    )
    assert "enough" not in told


def test_where_all_is_worse_none_is_enough_and_the_margin_decides():
    worse = _shrunk((0.9, 20, -0.03, 0.005), by_term=True)
    assert worse.sentence().endswith("of 64 terms, no share that was tried would have been enough.")
    assert worse.sentence(0.05).endswith("would have been enough, surely within 5.0 points.")
    with pytest.raises(vxlab.VxlabError, match="margin"):
        worse.sentence(0)
