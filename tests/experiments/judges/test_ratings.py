"""What is said of ratings: who gained, who lost, and what nobody can say."""

import pandas as pd
import pytest

from vxlab import Judge
from vxlab.experiments.judges.contestants import BASE
from vxlab.experiments.judges.ratings import Ratings, utc

QUESTIONS = 20


def _ratings(repeats=1, **gains):
    """Return ratings that rise and fall alike from question to question, each candidate's apart by its gain."""
    rows = [
        {"candidate": name, "seed": seed, "run": "" if name == BASE else f"{name}{seed}", "question": question,
         "category": ("writing", "math")[question % 2], "turn": turn, "repeat": repeat,
         "rating": 4.0 + question % 3 + gain + ((question + seed + len(name)) % 2) / 2, "unparsable": 0,
         "answer": hash((name, seed, question, turn)), "answered_by": "stub",
         "asked_at": "http://127.0.0.1:9/v1", "at": utc(1.7e9)}
        for name, gain in {BASE: 0.0, **gains}.items()
        for seed in ((0,) if name == BASE else (0, 1))
        for question in range(QUESTIONS)
        for turn in (1, 2)
        for repeat in range(repeats)
    ]  # fmt: skip
    judge = Judge(url="http://127.0.0.1:9/v1", model="stub", temperature=None)
    return Ratings(judge, pd.DataFrame(rows), "files", "0" * 12, "Greedy.", ("Mind the gap.",))


def test_gains_losses_and_ties_are_told_by_name():
    told = _ratings(up=1.5, down=-1.5, alike=0.0).verdict()
    assert "up is rated 1.50 points above the untuned base (95 % +" in told
    assert "**Tuning lost**: down is rated 1.50 points below the untuned base (95 % −" in told
    assert "alike cannot be told apart from the untuned base" in told
    assert "All p-values are after Holm over 3 comparisons." in told
    assert told.endswith("Over 20 questions with their two turns together: all 40 answers' places.")


def test_the_table_has_the_base_first_and_the_differences_to_it():
    found = _ratings(repeats=2, up=1.5)
    table = found.table().set_index("candidate")
    assert list(table.index) == [BASE, "up"]
    assert table.loc["up", "difference"] == pytest.approx(1.5)
    assert table.loc["up", "low"] < 1.5 < table.loc["up", "high"]
    assert table.loc["up", "math"] - table.loc[BASE, "math"] == pytest.approx(1.5, abs=0.3)
    assert table.loc["up", "judge_error"] == 0
    assert list(found.pairs["a"]) == [BASE]
    assert found.pairs["difference"].iloc[0] == pytest.approx(-1.5)


def test_what_stands_above_the_table():
    first, noise, *notes = _ratings().about()
    assert first == (
        "MT-Bench, rated 1 to 10 by stub, its server's own temperature, 2023-11-14; files (sha256 000000000000). "
        "Greedy."
    )
    assert "repeats=2 measures it" in noise
    assert notes == ["Mind the gap."]


def test_a_category_of_a_columns_name_takes_no_columns_place():
    found = _ratings(up=1.5)
    named = found.ratings.assign(category=found.ratings["category"].replace("math", "rating"))
    table = Ratings(found.judge, named, "files", "0" * 12, "Greedy.").table()
    assert table["rating"].tolist() == found.table()["rating"].tolist()
    assert table["category rating"].tolist() == found.table()["math"].tolist()


def test_without_the_base_nothing_is_said_of_tuning():
    found = _ratings(up=1.5)
    alone = Ratings(found.judge, found.ratings[found.ratings["candidate"] != BASE], "files", "0" * 12, "Greedy.")
    assert alone.table()["difference"].isna().all()
    assert alone.verdict().startswith("No candidate was rated beside the untuned base")


def test_one_seed_is_told():
    found = _ratings(up=1.5)
    once = Ratings(found.judge, found.ratings[found.ratings["seed"] == 0], "files", "0" * 12, "Greedy.")
    assert "One seed: the luck of training is not in this interval." in once.verdict()


def test_ratings_by_a_judge_of_the_same_name_elsewhere_are_told():
    found = _ratings(up=1.5)
    there = found.ratings["asked_at"].where(found.ratings["seed"] == 0, "http://127.0.0.1:8/v1/")
    moved = Ratings(found.judge, found.ratings.assign(asked_at=there), "files", "0" * 12, "Greedy.")
    assert moved.about()[-1] == (
        "40 of 120 ratings are kept from a judge of this name at http://127.0.0.1:8/v1/, and were not asked for at "
        "http://127.0.0.1:9/v1; if another model has the name here, give it another store."
    )
    assert found.about()[-1] == "Mind the gap."


def test_one_question_is_told_to_be_too_few():
    found = _ratings(up=1.5)
    few = Ratings(found.judge, found.ratings[found.ratings["question"] == 0], "files", "0" * 12, "Greedy.")
    assert few.verdict() == (
        "Fewer than two questions were rated in every run, so nothing is said of what tuning changed."
    )


def test_replies_that_rate_several_runs_count_once_in_the_judges_part():
    noisy = _ratings(repeats=2, up=1.5).ratings
    noisy["rating"] += noisy["repeat"]
    alike = noisy.assign(answer=noisy["question"] * 2 + noisy["turn"])  # all runs answered the same
    of = {"source": "files", "prompts_hash": "0" * 12, "answered": "Greedy."}
    judge = _ratings().judge
    apart, same = (Ratings(judge, each, **of).table().set_index("candidate") for each in (noisy, alike))
    sd = 0.5**0.5
    assert apart.loc["up", "judge_error"] == pytest.approx(sd / (2 * 40 * 2) ** 0.5)
    assert same.loc["up", "judge_error"] == pytest.approx(sd / (40 * 2) ** 0.5)
