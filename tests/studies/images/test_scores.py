"""Scores by shots with their intervals, and gains over the probe."""

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import vxlab
from vxlab.studies import reported_runs
from vxlab.studies.images import shot_gains, shot_scores

Results = dict[int, vxlab.Comparison]


def test_each_candidate_has_a_score_within_its_interval_at_each_number_of_shots(drawn: Results) -> None:
    scores = shot_scores(drawn)
    assert list(zip(scores["shots"], scores["candidate"], strict=True)) == [
        (shots, name) for shots, result in drawn.items() for name in result.summary["candidate"]
    ]
    assert ((scores["low"] <= scores["score"]) & (scores["score"] <= scores["high"])).all()
    assert scores["low"].min() >= 0
    assert scores["high"].max() <= 1
    for row in scores.to_dict("records"):
        assert row["score"] == pytest.approx(np.mean(row["scores"]))
        assert len(row["scores"]) == row["n"] == 2  # the probe has a run on each draw, too


def test_gains_are_the_differences_of_the_means_and_corrected_over_all(drawn: Results) -> None:
    gains, scores = shot_gains(drawn), shot_scores(drawn).set_index(["shots", "candidate"])["score"]
    assert len(gains) == 4
    assert "probe" not in set(gains["candidate"])
    for row in gains.to_dict("records"):
        assert row["gain"] == pytest.approx(scores[row["shots"], row["candidate"]] - scores[row["shots"], "probe"])
        assert row["low"] <= row["gain"] <= row["high"]
        assert row["p_holm"] >= row["p"]
        assert row["seen"] == (row["p_holm"] <= 0.05)


def test_without_a_probe_there_are_no_gains(drawn: Results) -> None:
    alone = {name: each for name, each in drawn[2].fair.names.items() if name != "probe"}
    result = cast(vxlab.Comparison, SimpleNamespace(fair=SimpleNamespace(names=alone)))
    assert shot_gains({2: result}).empty


def test_sweeps_on_other_test_images_are_refused(drawn: Results) -> None:
    turned: dict[str, Any] = {}
    for key, record in drawn[4].records.items():
        if record.status == "finished":
            logits, labels = record.predictions()
            turned[key] = _Turned(record, logits, labels.flip(0))
    other = dataclasses.replace(drawn[4], records=turned)
    assert not np.array_equal(reported_runs(other).labels, reported_runs(drawn[2]).labels)
    with pytest.raises(vxlab.VxlabError, match="4 shots were tested on other images"):
        shot_scores({2: drawn[2], 4: other})


class _Turned:
    def __init__(self, record: vxlab.RunRecord, logits: Any, labels: Any) -> None:
        self.record, self.kept = record, (logits, labels)

    def predictions(self) -> Any:
        return self.kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self.record, name)
