"""Sentences that say what the tables hold, and what they do not."""

import dataclasses
from typing import Any

import pandas as pd

import vxlab
from vxlab.studies.images import (
    beside_sentence,
    best_candidate,
    changes_by_block,
    changes_sentences,
    class_confusions,
    confusion_sentence,
    differences_beside,
    images_conclusion,
    limits_sentence,
    probe_sentence,
    shot_gains,
    shot_scores,
)


def gains(*rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["shots", "candidate", "probe", "gain", "low", "high", "seen"])


def test_it_is_said_which_candidates_beat_the_probe_at_which_k() -> None:
    table = gains(
        (2, "LoRA r=8", 0.4, 0.01, -0.05, 0.07, False), (2, "full", 0.4, -0.1, -0.15, -0.05, True),
        (10, "LoRA r=8", 0.6, 0.08, 0.03, 0.13, True), (10, "full", 0.6, 0.1, 0.05, 0.15, True),
    )  # fmt: skip
    assert probe_sentence(table, "accuracy") == (
        "**2 of 4 comparisons with the probe of the frozen model are shown to gain**, after Holm's correction for all "
        "4. At 2 shots (probe 40.0 %): none above it, full below it; the highest, LoRA r=8, by 1.0 points (95 % −5.0 "
        "to 7.0). At 10 shots (probe 60.0 %): LoRA r=8 and full above it; the highest, full, by 10.0 points (95 % 5.0 "
        "to 15.0)."
    )


def test_it_is_said_where_none_beats_the_probe_and_where_there_is_none() -> None:
    none = probe_sentence(gains((2, "LoRA r=8", 0.4, 0.01, -0.05, 0.07, False)), "accuracy")
    assert none.startswith("**No candidate is shown to beat the probe of the frozen model**, after Holm's")
    assert "cannot be said" in probe_sentence(gains(), "accuracy")


def confusions(*cells: tuple[str, str, int]) -> pd.DataFrame:
    rows = [("LoRA", true, other, count, 10, count / 10, 2) for true, other, count in cells]
    return pd.DataFrame(rows, columns=["candidate", "true", "predicted", "answers", "asked", "share", "runs"])


def test_confusions_are_told_as_the_largest_of_many() -> None:
    table = confusions(("cat", "cat", 6), ("cat", "dog", 4), ("dog", "dog", 9), ("dog", "cat", 1))
    assert confusion_sentence(table, "LoRA") == (
        "**LoRA** most often takes cat for dog (4 of 10 answers, 40 %) and dog for cat (1 of 10 answers, 10 %), over 2 "
        "runs on the same test images. They are the largest of 2 numbers, and so would be smaller on other images."
    )
    assert "takes no test image" in confusion_sentence(confusions(("cat", "cat", 10), ("dog", "dog", 10)), "LoRA")


def test_blocks_are_told_with_how_often_they_were_first() -> None:
    rows = [("LoRA", run, block, "query", norm) for run in ("1", "2") for block, norm in enumerate((0.01, 0.02))]
    changes = pd.DataFrame(rows, columns=["candidate", "key", "block", "role", "relative_norm"])
    (told,) = changes_sentences(changes)
    assert "LoRA block 1 (2 % of ‖W‖, 2.0 times block 0's; furthest in 2 of 2 runs)" in told
    assert changes_sentences(changes[:0]) == []


def test_the_papers_differences_are_set_beside_accuracies_alone() -> None:
    row = {"a": "VeRA", "b": "LoRA", "here": 0.02, "low": -0.01, "high": 0.05, "seen": False, "least": -0.011,
           "median": 0.0, "most": 0.005, "sets": 8}  # fmt: skip
    told = beside_sentence(pd.DataFrame([row]), "accuracy")
    assert (
        "VeRA less LoRA −1.1 to +0.5 there, +2.0 here (95 % −1.0 to 5.0). None of those here is told from 0 after Holm"
        in told
    )
    assert "neither confirms nor contradicts" in told
    assert beside_sentence(pd.DataFrame([row]), "f1") == ""


def test_the_conclusion_says_what_it_is_of(drawn: dict[int, vxlab.Comparison], store: str) -> None:
    result = drawn[4]
    scores, seen = shot_scores(drawn), class_confusions(result)
    assert best_candidate(scores) == result.summary.sort_values("mean", kind="stable").iloc[-1]["candidate"]
    told = images_conclusion(
        drawn, scores, shot_gains(drawn), seen, changes_by_block(result, store), differences_beside(result)
    )
    limits = limits_sentence(drawn)
    assert told.endswith(f"- {limits}")
    assert "one model (model), one task of 3 classes, 18 test items and 2 draws of each number of shots" in limits
    assert "Intervals are over other draws and other images like these, not over other models" in limits
    assert told.count("\n") >= 4
    one = dataclasses.replace(result, summary=result.summary.assign(draws=1))
    assert "Intervals are over other images like these, not over other draws, other models" in limits_sentence({4: one})
