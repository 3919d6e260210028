"""Rows of gain and change are what a plain computation gives, and what does not belong together is refused."""

from typing import Any

import numpy as np
import pytest
from toy_evaluations import METRIC, evaluation

import vxlab
from vxlab.experiments.evaluations import Evaluations, paired_differences
from vxlab.studies import metric_scores
from vxlab.studies.forgetting import FORGETTING_COLUMNS, MEAN_OF_TASKS, forgetting_table

RANDOM = np.random.default_rng(3)
BASE = RANDOM.random(200) < 0.5


def answers(agree: float) -> np.ndarray:
    """Return answers of which so many are the base's own, and the others wrong."""
    return np.where(RANDOM.random(len(BASE)) < agree, BASE, False)


def keys(written: vxlab.Comparison, candidate: str) -> list[str]:
    runs = written.runs[(written.runs["candidate"] == candidate) & (written.runs["stage"] == "report")]
    return list(runs.sort_values("seed")["key"])


def evaluations(written: vxlab.Comparison, shares: dict[str, tuple[float, ...]], **changed: Any) -> Evaluations:
    """Return the base's evaluation and, by candidate, those of its runs with such shares of the base's answers."""
    runs = [
        evaluation(answers(share), key, **changed)
        for name, own in shares.items()
        for key, share in zip(keys(written, name), own, strict=False)
    ]
    return Evaluations((evaluation(BASE, **changed), *runs), tuple(written.records.values()))


def candidates(written: vxlab.Comparison) -> tuple[str, str]:
    lora, full = (name for name in written.fair.names if name != "untuned base")
    return lora, full


def test_the_base_comes_first_and_changes_are_to_it(written: vxlab.Comparison) -> None:
    lora, full = candidates(written)
    found = evaluations(written, {lora: (0.5, 0.5), full: (1.0, 0.98)})
    table = forgetting_table(written, found)
    assert tuple(table.columns) == FORGETTING_COLUMNS
    assert table["candidate"].tolist() == ["untuned base", lora, full]
    rows = table.set_index("candidate")
    assert rows.loc["untuned base", "score"] == pytest.approx(BASE.mean())
    assert rows.loc["untuned base", ["difference", "gain"]].isna().all()
    own = [each.scores[METRIC] for each in found.evaluations if each.run in keys(written, lora)]
    assert rows.loc[lora, "score"] == pytest.approx(np.mean(own))
    assert rows.loc[lora, "difference"] == pytest.approx(np.mean(own) - BASE.mean())
    assert rows["change"].tolist() == ["", "lost", ""]
    assert (rows.loc[[lora, full], "evaluated"] == 2).all()
    runs = {
        name: {
            number: next(each for each in found.evaluations if each.run == key)
            for number, key in enumerate(keys(written, name))
        }
        for name in (lora, full)
    }
    plain = paired_differences(runs, found.evaluations[0], METRIC)[lora]
    assert rows.loc[lora, ["low", "high", "p"]].tolist() == pytest.approx([plain.low, plain.high, plain.p])
    assert rows.loc[lora, "p_holm"] == pytest.approx(2 * plain.p)


def test_gains_are_those_of_the_table_of_metrics(written: vxlab.Comparison) -> None:
    lora, full = candidates(written)
    table = forgetting_table(written, evaluations(written, {lora: (0.9,), full: (0.9,)})).set_index("candidate")
    scores = metric_scores(written)
    scores = scores[scores["metric"] == written.metric].set_index("candidate")
    for name in (lora, full):
        assert table.loc[name, ["gain", "gain_low", "gain_high", "gain_p_holm"]].tolist() == pytest.approx(
            scores.loc[name, ["gain", "gain_low", "gain_high", "p_holm"]].tolist()
        )
        assert table.loc[name, "parameters"] == written.summary.set_index("candidate").loc[name, "backbone"]


def test_a_candidate_that_was_not_evaluated_has_an_empty_row_and_a_part_is_counted(written: vxlab.Comparison) -> None:
    lora, full = candidates(written)
    rows = forgetting_table(written, evaluations(written, {lora: (0.9,)})).set_index("candidate")
    assert (rows.loc[lora, "runs"], rows.loc[lora, "evaluated"]) == (2, 1)
    assert (rows.loc[full, "runs"], rows.loc[full, "evaluated"]) == (2, 0)
    assert rows.loc[full, ["score", "difference", "low", "p_holm"]].isna().all()
    assert rows.loc[full, "gain"] > 0


def test_where_less_is_better_a_rise_is_a_loss(written: vxlab.Comparison) -> None:
    lora, _ = candidates(written)
    lower = {"higher_is_better": {METRIC: False}}
    base, tuned = evaluation(~BASE, **lower), evaluation(np.ones(200), keys(written, lora)[0], **lower)
    row = forgetting_table(written, Evaluations((base, tuned))).set_index("candidate").loc[lora]
    assert (row["change"], row["difference"]) == ("lost", pytest.approx(-BASE.mean()))
    assert row["low"] < row["difference"] < row["high"] < 0


def test_the_mean_weighs_tasks_alike_and_its_error_is_that_of_independent_tasks(written: vxlab.Comparison) -> None:
    lora, full = candidates(written)
    few = {"task": "piqa", "documents": tuple(map(str, range(50))), "subtasks": ("piqa",) * 50}
    easy = np.arange(50) < 40
    worse = easy & (np.arange(50) >= 8)
    first = evaluations(written, {lora: (0.8,), full: (0.9,)}).evaluations
    second = [evaluation(easy, **few), evaluation(worse, keys(written, lora)[0], **few),
              evaluation(easy, keys(written, full)[0], **few)]  # fmt: skip
    table = forgetting_table(written, Evaluations((*first, *second)))
    row = table[(table["task"] == MEAN_OF_TASKS) & (table["candidate"] == lora)].iloc[0]
    arc = next(each.items[METRIC] for each in first if each.run == keys(written, lora)[0]) - BASE
    piqa = worse.astype(float) - easy
    assert row["difference"] == pytest.approx((arc.mean() + piqa.mean()) / 2)
    assert row["base"] == pytest.approx((BASE.mean() + 0.8) / 2)
    error = np.sqrt((np.var(arc, ddof=1) / 200 + np.var(piqa, ddof=1) / 50) / 4)
    half = (row["high"] - row["low"]) / 2 / 1.97
    assert error < half < 1.06 * error  # compare_all adds two items' worth, that no set looks free of noise
    own = table[table["task"] != MEAN_OF_TASKS].dropna(subset=["p"])
    assert len(own) == 4
    assert own["p_holm"].min() == pytest.approx(4 * own["p"].min())


def test_there_is_no_mean_where_a_run_was_not_on_every_task_or_a_score_is_no_share(written: vxlab.Comparison) -> None:
    lora, full = candidates(written)
    first = evaluations(written, {lora: (0.8,), full: (0.9,)}).evaluations
    part = evaluations(written, {lora: (0.8,)}, task="piqa").evaluations
    assert MEAN_OF_TASKS not in set(forgetting_table(written, Evaluations((*first, *part)))["task"])
    whole = [evaluation(RANDOM.random(200), each.run, task="lambada") for each in first]
    assert MEAN_OF_TASKS not in set(forgetting_table(written, Evaluations((*first, *whole)))["task"])


def test_runs_of_another_sweep_are_refused(written: vxlab.Comparison) -> None:
    strange = Evaluations((evaluation(BASE), evaluation(BASE, "f" * 64)))
    with pytest.raises(vxlab.VxlabError, match="ffffffffffff was evaluated, and is none of the sweep's reported runs"):
        forgetting_table(written, strange)


def test_without_its_base_or_twice_a_task_is_refused(written: vxlab.Comparison) -> None:
    lora, _ = candidates(written)
    found = evaluations(written, {lora: (0.8,)}).evaluations
    with pytest.raises(vxlab.VxlabError, match="arc_easy: no untuned base beside LoRA"):
        forgetting_table(written, Evaluations(found[1:]))
    with pytest.raises(vxlab.VxlabError, match="arc_easy was evaluated twice"):
        forgetting_table(written, Evaluations((*found, evaluation(BASE, settings={"limit": 9}))))
