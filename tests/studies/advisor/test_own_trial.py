"""The small trial of an advice on its own task: what is trained, what is left of updates, and what is said of both."""

import types

import pandas as pd
import pytest
from toy_advice import LEFT_OUT, toy_advice

import vxlab
from vxlab.experiments.sweeps import FairSweep
from vxlab.studies.advisor.own_trial import (
    KEPT_COLUMNS,
    advice_conclusion,
    own_trial,
    own_trial_sentence,
    rank_kept_sentences,
    rank_kept_table,
)

FAIR = FairSweep(
    candidates=[vxlab.Candidate(vxlab.LoRA(rank=2), learning_rate=7e-3)],
    settings={"model": "minilm", "task": "toy", "targets": "all-linear"}, report_seeds=4,
)  # fmt: skip
NOTHING = pd.DataFrame(columns=KEPT_COLUMNS)


@pytest.mark.parametrize("verdict", ["allocation", "uniform", "unknown"])
def test_ranks_by_energy_run_whatever_the_advice_says_tuned_as_one_rank_is(verdict):
    uniform, by_energy = own_trial(toy_advice(verdict), FAIR).candidates
    assert (uniform.method.rank, uniform.targets) == (2, "all-linear")
    assert (uniform.learning_rate, by_energy.learning_rate) == (7e-3, 7e-3)
    assert sorted(by_energy.method.rank.values()) == [2, 2, 4, 4, 4]
    assert LEFT_OUT not in by_energy.targets
    assert set(by_energy.targets) == set(by_energy.method.rank)


def test_ranks_that_are_all_alike_leave_nothing_to_compare():
    advice = toy_advice()
    alike = toy_advice(layers=advice.layers.assign(allocated=2))
    fair = own_trial(alike, FAIR)
    assert len(fair.candidates) == 1
    assert "nothing to compare" in own_trial_sentence(alike, None)


@pytest.mark.parametrize(
    ("verdict", "difference", "seen", "told"),
    [
        ("allocation", 0.03, True, "Ranks by energy are better here**, as advised"),
        ("uniform", 0.03, True, "though the advice did not say so"),
        ("allocation", -0.03, True, "One rank for all is better here**, against the advice"),
        ("unknown", -0.03, True, "the advice was right to abstain"),
        ("allocation", 0.03, False, "so the advice is not shown to pay"),
        ("uniform", 0.03, False, "abstaining is not shown to have cost anything"),
    ],
)
def test_what_is_said_follows_from_the_difference_and_whether_it_is_told_apart(verdict, difference, seen, told):
    advice = toy_advice(verdict)
    assert told in own_trial_sentence(advice, _result(advice, difference, seen))


def test_runs_that_could_not_be_compared_are_not_called_alike():
    advice = toy_advice()
    result = _result(advice, 0.0, False)
    result.pairs = result.pairs.iloc[:0]
    assert "too few to compare" in own_trial_sentence(advice, result)


def test_a_share_is_enough_only_where_every_run_is_surely_within_the_margin_and_every_larger_share_is():
    shares = [1.0, 0.99, 0.9, 0.5]
    runs = {("LoRA r=4", 1): _shrunk(shares, [0, 0, -0.01, 0]), ("LoRA r=4", 2): _shrunk(shares, [0, 0, -0.03, 0])}
    kept = rank_kept_table(runs)
    assert list(kept.columns) == KEPT_COLUMNS
    assert kept["rank"].tolist()[:2] == [4.0, 3.96]
    told = rank_kept_sentences(kept, "accuracy")
    assert "of mean rank 4, mean rank 3.96 would have been enough, 99 % of the updates' energy" in told
    assert "in all 2 runs surely within 2.0 points" in told
    first = rank_kept_sentences(rank_kept_table({("LoRA r=4", 1): _shrunk(shares, [0, -0.1, 0, 0])}), "accuracy")
    assert "no share that was tried is surely within" in first


def test_no_trained_update_is_said():
    assert rank_kept_table({}).empty
    assert "No trained update" in rank_kept_sentences(rank_kept_table({}), "accuracy")


def test_the_conclusion_has_every_advice_the_trials_and_what_they_do_not_say():
    advice = toy_advice("uniform")
    lines = advice_conclusion({"LoRA": advice}, "LoRA", _result(advice, 0.0, False), NOTHING, "- It fails.").split("\n")
    assert lines[0] == f"- **LoRA**: {advice.sentence()}"
    assert lines[1].startswith("- **On this task, LoRA**: The advice was one rank for all")
    assert lines[2] == "- It fails."
    assert lines[-1].startswith("- What this does not say")


def _result(advice, difference, seen):
    fair = own_trial(advice, FAIR)
    uniform, by_energy = fair.names
    row = {"a": by_energy, "b": uniform, "difference": difference, "low": difference - 0.01, "high": difference + 0.01,
           "p": 0.01, "seen": seen, "error": 0.005, "freedom": 3.0, "covers_seeds": True}  # fmt: skip
    summary = pd.DataFrame({"n": [4, 4]})
    return types.SimpleNamespace(fair=fair, pairs=pd.DataFrame([row]), metric="accuracy", summary=summary)


def _shrunk(shares, lows):
    scores = pd.DataFrame({"share": shares, "low": [float(low) for low in lows]})
    scores = scores.assign(kept=8 * scores["share"], parameters=100, score=0.8, difference=0.0, high=0.01)
    return types.SimpleNamespace(scores=scores, ranks=pd.DataFrame({"layer": ["a", "b"]}))
