"""Few-shot runs by their draw: no run takes another's place, and what a reader must know of the draws is said."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vxlab.experiments.store.table import without_repeats
from vxlab.experiments.sweeps.draws import draw_notes, drawn_shares, lucks_of, scores_by_luck
from vxlab.experiments.sweeps.tuning import with_stages


def table(*rows: tuple[str, int | None, int, float], shots: int | None = 5) -> pd.DataFrame:
    """Return runs of candidates by draw and seed, with their test scores."""
    made = [
        {"key": f"{name} {draw} {seed}", "candidate": name, "shots": None if draw is None else shots, "draw": draw,
         "seed": seed, "test": test}
        for name, draw, seed, test in rows
    ]  # fmt: skip
    return pd.DataFrame(made).astype(dict.fromkeys(("shots", "draw", "seed"), "Int64"))


def records(runs: pd.DataFrame, share: float = 0.0) -> Any:
    return {key: SimpleNamespace(task={"drawn": share}) for key in runs["key"]}


PROBE = [("probe", draw, 0, 0.5 + draw / 10) for draw in (1, 2, 3)]


def test_runs_that_share_their_seed_are_told_apart_by_their_draw():
    assert lucks_of(table(*PROBE)) == [(1, 0), (2, 0), (3, 0)]
    assert lucks_of(table(*PROBE, ("full", None, 2, 0.9)))[-1] == 2


def test_runs_on_one_draw_each_go_by_their_seed():
    assert lucks_of(table(("a", 4, 0, 0.5), ("a", 4, 1, 0.6), ("b", 5, 0, 0.5), ("b", 5, 1, 0.7))) == [0, 1, 0, 1]
    assert lucks_of(table(("a", 4, 0, 0.5), ("a", 4, 1, 0.6))) == [0, 1]
    assert lucks_of(table(("a", None, 3, 0.5))) == [3]


def test_seeds_of_one_draw_are_one_score_and_lost_runs_none():
    runs = table(("a", 2, 0, 0.7), ("a", 1, 0, 0.5), ("a", 1, 1, 0.6), ("a", 3, 0, np.nan))
    assert scores_by_luck(runs).tolist() == pytest.approx([0.55, 0.7])
    assert scores_by_luck(runs[runs["draw"] == 1]).tolist() == [0.5, 0.6]


def test_a_probe_on_several_draws_is_no_run_again():
    runs = table(*PROBE, *PROBE).assign(
        targets="none", status="finished", learning_rate=np.nan, head_learning_rate=np.nan
    )
    assert without_repeats(runs)["draw"].tolist() == [1, 2, 3]


def test_draws_that_ran_at_several_rates_chose_and_others_are_reported():
    lucks = [(rate, draw) for draw in (0, 1) for rate in (1e-3, 1e-2)] + [(1e-2, 2), (1e-2, 3)]
    runs = table(*(("a", draw, 0, 0.5) for _, draw in lucks)).assign(
        learning_rate=[rate for rate, _ in lucks], head_learning_rate=5e-3, method="LoRA", rank=8, ends_after=1.0,
        status="finished", validation=[rate for rate, _ in lucks], validation_loss=0.5,
    )  # fmt: skip
    staged, tuning = with_stages(runs)
    assert staged.loc[staged["stage"] == "report", "draw"].tolist() == [2, 3]
    assert tuning["n"].tolist() == [2, 2]


def test_what_draws_share_is_of_candidates_on_several():
    runs = table(*PROBE, ("a", 1, 0, 0.5), ("full", None, 0, 0.9))
    assert drawn_shares(runs, records(runs, 0.25)) == {"probe": 0.25}


@pytest.mark.parametrize(
    ("rows", "share", "told"),
    [
        ([("a", None, 0, 0.5)], 0.0, []),
        (PROBE, 0.01, []),
        (PROBE, 0.5, ["A draw takes 50 % of a class's training rows: draws share rows"]),
        ([("a", 4, 0, 0.5), ("a", 4, 1, 0.5)], 0.1, ["All runs learned from one draw of 5 shots a class (draw 4)"]),
        ([("a", 4, 0, 0.5), ("b", 5, 0, 0.5)], 0.1, ["All runs learned from one draw each of 5 shots a class: the"]),
        ([*PROBE, ("a", 4, 0, 0.5)], 0.01, ["The runs of a learned from one draw of 5 shots a class (draw 4)"]),
        ([("a", 0, 0, 0.5)], 1.0, ["All runs learned from all there is (5 shots a class): no interval covers what"]),
    ],
)
def test_what_intervals_do_not_cover_is_said(rows, share, told):
    runs = table(*rows)
    notes = draw_notes(runs, records(runs, share))
    assert len(notes) == len(told)
    assert all(note.startswith(start) for note, start in zip(notes, told, strict=True))
