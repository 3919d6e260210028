"""Sentences say what the tables hold, and neither a score nor a point that is not there."""

from typing import Any

import pandas as pd
import pytest

from vxlab.studies.many import (
    growth_sentences,
    many_conclusion,
    pace_sentences,
    same_scores_sentence,
    throughput_sentences,
)
from vxlab.studies.many.sentences import falls_to_one

NAN = float("nan")


def growth(written: tuple[bool, ...] = (True, True, False)) -> pd.DataFrame:
    rows = []
    for size, there in zip((1_000, 10_000, 100_000), written, strict=True):
        own = 400 * size
        row: dict[str, Any] = {
            "candidate": "VeRA r=4", "adapters": size, "parameters": 100, "own_bytes": own, "file_bytes": 1.01 * own,
            "folder_bytes": 8192 * size, "copy_bytes": 10**6 * size, "written": there, "file_seconds": 0.0003,
        }  # fmt: skip
        times = {"open_seconds": 0.002, "row_seconds": 2e-5 * (size / 1000), "batch_seconds": 2e-4, "added": 5432.0}
        rows.append(row | (times if there else dict.fromkeys(times, NAN)))
    return pd.DataFrame(rows)


def kept(off: float = 0.0) -> pd.DataFrame:
    rows = [
        {"own": 0.7, "banked": 0.7, "same": True, "changed": 0, "items": 400, "difference": 2e-6},
        {"own": 0.6, "banked": 0.6 + off, "same": not off, "changed": int(bool(off)), "items": 400, "difference": 3e-6},
    ]
    return pd.DataFrame(rows)


def throughput(stages: tuple[str, ...] = ("one pass",)) -> pd.DataFrame:
    own = {"candidate": "LoRA r=8", "rows": 64, "speed": 0.97, "speed_low": 0.95, "speed_high": 0.99}
    theirs = {"over_peft": 8.04, "over_peft_low": 7.9, "over_peft_high": 8.2}
    return pd.DataFrame([own | theirs | {"stage": stage, "tokens": 16} for stage in stages])


def pace(*faster: float, reason: str = "") -> pd.DataFrame:
    batches = ((8, 24), (16, 32), (32, 48))
    own = {"candidate": "LoRA r=8", "width": 8, "times_faster_low": NAN, "times_faster_high": NAN, "reason": reason}
    return pd.DataFrame([
        own | {"texts": texts, "tokens": tokens, "times_faster": each}
        for (texts, tokens), each in zip(batches, faster, strict=True)
    ])  # fmt: skip


def test_scores_that_are_kept_are_told_apart_from_such_as_are_not() -> None:
    assert "**every test score is its own run's, to the last digit**; 0 of 800 answers changed" in same_scores_sentence(
        kept()
    )
    told = same_scores_sentence(kept(off=-0.0025))
    assert "**1 of 2 test scores are their own run's to the last digit**, and none is off by more than 0.0025" in told
    assert "1 of 800 answers changed, and no logit by more than 3.0e-06" in told


def test_a_banks_growth_is_between_sizes_that_were_written_and_a_million_in_proportion() -> None:
    (told,) = growth_sentences(growth())
    assert "10,000 synthetic ones take 4.04 MB, 1.010 of the numbers' own bytes, open in 2 ms" in told
    assert "with 10 times as many, opening takes 1.0 and a read 10.0 times as long" in told
    assert "5,400 are added in a second" in told
    assert "A million would take, in proportion, 404 MB, and as folders of one adapter each 8.19 GB" in told


def test_a_bank_that_fits_nowhere_claims_nothing() -> None:
    (told,) = growth_sentences(growth(written=(False, False, False)))
    assert told == "**VeRA r=4**, 100 numbers an adapter: no bank fits the bytes that were allowed."


def test_an_encoder_has_no_decoding_and_a_writer_has() -> None:
    batch, theirs, none = throughput_sentences(throughput())
    assert "**A batch of 64 rows, each with an adapter of its own**, runs at so much of the speed" in batch
    assert "LoRA r=8 0.97 (0.95 to 0.99) at 16 tokens a row" in batch
    assert "LoRA r=8 8.0 (7.9 to 8.2) at 16 tokens a row" in theirs
    assert "there is no decoding to time" in none
    told = " ".join(throughput_sentences(throughput(("prefill", "decode"))))
    assert "**prefill**" in told
    assert "**decoding**, a token a row" in told
    assert "no decoding to time" not in told


def test_without_peft_nothing_is_said_of_it() -> None:
    told = throughput_sentences(throughput().assign(over_peft=NAN))
    assert "PEFT" not in " ".join(told)


@pytest.mark.parametrize(
    ("faster", "where"),
    [
        ((1.4, 1.1, 0.9), "which stops paying between 512 and 1,536 tokens of a run's step"),
        ((1.4, 1.3, 1.2), "which pays at all of these"),
        ((1.0, 0.9, 0.8), "which pays at none of these"),
        ((1.4, 0.9, 1.1), "which pays at 2 of these 3, and at no point stops for good"),
    ],
)
def test_where_stacking_stops_is_where_the_ratio_falls_to_one_for_good(faster: tuple[float, ...], where: str) -> None:
    (told,) = pace_sentences(pace(*faster))
    assert where in told


def test_the_order_of_the_rows_does_not_matter_to_where_it_stops() -> None:
    assert falls_to_one(pace(1.4, 1.1, 0.9)[::-1]) == (512, 1536)


def test_runs_that_cannot_train_together_say_why_once() -> None:
    told = pace_sentences(pace(NAN, NAN, NAN, reason="its model answers in words"))
    assert told == ["LoRA r=8 runs do not train together: its model answers in words."]


def test_the_conclusion_begins_with_what_trained_adapters_kept() -> None:
    told = many_conclusion(growth(), throughput(), kept(), pace(1.4, 1.1, 0.9)).splitlines()
    assert told[0].startswith("- 2 trained adapters out of the bank")
    assert len(told) == 6
