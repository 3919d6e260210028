"""Scores of every metric against what a plain computation gives, and gains against compare_two."""

import numpy as np
import pytest

import vxlab
from vxlab.experiments.scoring import compare_two, compute
from vxlab.studies.metric_scores import METRIC_COLUMNS, metric_scores


def reported(written: vxlab.Comparison, candidate: str) -> dict[int, np.ndarray]:
    runs = written.runs[(written.runs["candidate"] == candidate) & (written.runs["stage"] == "report")]
    return {number: written.records[key].predictions()[0].numpy() for number, key in enumerate(runs["key"])}


def test_scores_are_means_over_seeds_and_gains_are_over_the_base(written: vxlab.Comparison) -> None:
    table = metric_scores(written)
    assert tuple(table.columns) == METRIC_COLUMNS
    labels = next(iter(written.records.values())).predictions()[1].numpy()
    for row in table.itertuples():
        runs = reported(written, row.candidate)
        assert row.n == len(runs)
        scores = [compute([row.metric], each, labels)[row.metric] for each in runs.values()]
        assert row.score == pytest.approx(np.mean(scores))
        if row.candidate == "untuned base":
            assert np.isnan(row.gain)
            if row.metric == "log_likelihood":
                assert row.low < row.score < row.high
        else:
            base = reported(written, "untuned base")
            assert row.gain == pytest.approx(compare_two(runs, base, labels, row.metric).difference)
            assert row.gain_low < row.gain < row.gain_high
            assert row.seeds


def test_full_fine_tuning_lowers_the_held_out_loss(written: vxlab.Comparison) -> None:
    table = metric_scores(written).set_index(["metric", "candidate"])
    row = table.loc[("log_likelihood", "full fine-tuning")]
    assert row["gain"] > 0
    assert row["p_holm"] < 0.05


def test_nothing_was_run_to_tune(written: vxlab.Comparison) -> None:
    assert set(written.runs["stage"]) == {"report"}
    assert sorted(written.runs["seed"].dropna().unique().tolist()) == [0, 1]
    assert written.tuning["chosen"].all()
    assert written.tuning["median"].isna().all()
