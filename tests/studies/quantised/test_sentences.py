"""Sentences say what the tables hold, and claim no change of order that is not shown."""

import pandas as pd
import pytest

from vxlab.studies.quantised import (
    MERGED,
    REQUANTISED,
    UNMERGED,
    MergingCosts,
    memory_sentence,
    merging_sentences,
    order_sentences,
    quantised_conclusion,
    turned_sentence,
)
from vxlab.studies.quantised.scores import KEPT, NOT_TOLD, REVERSED

NAN = float("nan")


def scores(nf4: tuple[float, float] = (0.7, 0.6), seen: bool = False) -> pd.DataFrame:
    own = {"edge": "", "above": True, "covers_seeds": True}
    rows = [
        {"scheme": "float", "candidate": name, "score": score, "change": NAN, "low": NAN, "high": NAN, "seen": False}
        for name, score in (("LoRA r=8", 0.72), ("VeRA r=256", 0.65))
    ]
    for name, score, before in zip(("LoRA r=8", "VeRA r=256"), nf4, (0.72, 0.65), strict=True):
        change = score - before
        told = {"change": change, "low": change - 0.03, "high": change + 0.03, "seen": seen}
        rows.append({"scheme": "nf4", "candidate": name, "score": score, **told})
    return pd.DataFrame([row | own for row in rows])


def orders(order: str, seen: bool = False) -> pd.DataFrame:
    row = {
        "scheme": "nf4", "a": "LoRA r=8", "b": "VeRA r=256", "float": 0.07, "quantised": 0.1, "order": order,
        "shift": 0.03, "low": -0.031, "high": 0.091, "seen": seen,
    }  # fmt: skip
    return pd.DataFrame([row])


def memory() -> pd.DataFrame:
    return pd.DataFrame({
        "scheme": ["float", "nf4"], "candidate": ["LoRA r=8"] * 2, "linear": [4_000_000, 500_000],
        "scales": [0, 60_000], "weights": [10_000_000, 6_560_000], "peak": [20_000_000, 15_000_000],
    })  # fmt: skip


def angles(bounds: tuple[float, float] = (90.0, 40.0)) -> pd.DataFrame:
    own = {"scheme": "nf4", "rank": 16, "overlap": 0.98, "largest": 20.0, "chance": 81.0}
    rows = [
        own | {"layer": f"{i}", "side": side, "median": 3.0 + i, "bound": bound}
        for i, bound in enumerate(bounds)
        for side in ("output", "input")
    ]
    return pd.DataFrame(rows)


def merging() -> MergingCosts:
    layers = pd.DataFrame(
        {"scheme": "nf4", "candidate": "LoRA r=8", "rounded": [1e-6, 2e-6], "lost": [1.05, 1.15], "kept": [0.03, 0.05]}
    )
    outputs = pd.DataFrame([{"scheme": "nf4", "candidate": "LoRA r=8", MERGED: 3e-6, REQUANTISED: 0.97}])
    tested = {
        "scheme": "nf4", "candidate": "LoRA r=8", "metric": "accuracy", UNMERGED: 0.7, MERGED: 0.7, REQUANTISED: 0.55,
        "low": -0.2, "high": -0.1, "seen": True,
    }  # fmt: skip
    return MergingCosts(layers, outputs, pd.DataFrame([tested]))


def test_one_winner_everywhere_is_told_with_what_is_not_ruled_out() -> None:
    told = order_sentences(scores(), orders(KEPT), "accuracy")
    assert "**LoRA r=8 has the highest mean on every base** (float LoRA r=8 72.0 %, nf4 LoRA r=8 70.0 %)" in told
    assert "1 in the same order on both" in told
    assert "shown to move in none" in told
    assert "shifts of up to 9.1 points" in told
    assert "nf4 less float: LoRA r=8 −2.0 points (95 % −5.0 to 1.0)" in told
    assert "none of 2 told from 0" in told


def test_another_highest_mean_alone_is_no_change_of_order() -> None:
    told = order_sentences(scores((0.6, 0.66)), orders(NOT_TOLD), "accuracy")
    assert "**The highest mean is another method's from base to base, but no change of order is shown**" in told
    assert "1 not told apart on either" in told


def test_a_change_of_order_is_told_where_both_bases_show_it() -> None:
    told = order_sentences(scores((0.6, 0.7), seen=True), orders(REVERSED, seen=True), "accuracy")
    assert "**The order changes: LoRA r=8 and VeRA r=256 on nf4 are shown in the other order than on float.**" in told
    assert "LoRA r=8 less VeRA r=256 on nf4 by 3.0 points" in told
    assert "2 of 2 told from 0" in told


def test_edges_and_candidates_below_the_trivial_answer_are_told() -> None:
    table = scores()
    table.loc[3, ["edge", "above"]] = ["high", False]
    told = order_sentences(table, orders(KEPT), "accuracy")
    assert "Not shown to beat the trivial answer: VeRA r=256 on nf4." in told
    assert "With a rate on the edge of its range: VeRA r=256 on nf4." in told


def test_memory_is_told_in_shares_of_the_float_base() -> None:
    told = memory_sentence(memory())
    assert "4 MB in float32" in told
    assert "14 % (nf4) of that" in told
    assert "the whole model takes 65.6 % (nf4)" in told
    assert "LoRA r=8 at its peak 75 % (nf4)" in told


def test_angles_are_told_beside_chance_and_the_bound() -> None:
    told = turned_sentence(angles(), 16)
    assert "**nf4 3.5°" in told
    assert "says nothing of 1 of 2 layers, and for the others allows 40°" in told
    assert "median angle of 81°" in told
    assert "for the others" not in turned_sentence(angles((90.0, 90.0)), 16)


def test_merging_is_told_with_what_is_left_and_what_the_score_loses() -> None:
    told = merging_sentences(merging())
    assert "at most 2e-06 of its norm" in told
    assert "LoRA r=8 110 % of ‖ΔW‖ (4.0 % of ΔW is left), 97 % of its effect on logits" in told
    assert "the score from 70.0 % to 55.0 % (shown; 95 % −20.0 to −10.0)" in told
    without = merging()._replace(scores=merging().scores.iloc[:0])
    assert "the score" not in merging_sentences(without)
    nothing = MergingCosts(*(table.iloc[:0] for table in merging()))
    assert "nothing to merge" in merging_sentences(nothing)


@pytest.mark.parametrize("part", ["highest mean", "linear weights", "singular directions", "Requantised to nf4"])
def test_the_conclusion_holds_every_part(part: str) -> None:
    told = quantised_conclusion(scores(), orders(KEPT), memory(), angles(), merging(), metric="accuracy", rank=16)
    assert part in told
    assert all(line.startswith("- ") for line in told.splitlines())
