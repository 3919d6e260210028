"""Sentences say what the table holds, in the loss's direction."""

import dataclasses

import pytest
import torch

import vxlab
from vxlab.experiments import RunRecord
from vxlab.experiments.scoring.text_formulas import COLUMNS
from vxlab.studies.generation import generation_conclusion
from vxlab.studies.metric_scores import metric_scores


def test_the_losses_fall_and_metrics_are_counted(written: vxlab.Comparison) -> None:
    table = metric_scores(written)
    told = generation_conclusion(table)
    gain = table.set_index(["metric", "candidate"]).loc[("log_likelihood", "full fine-tuning"), "gain"]
    assert f"full fine-tuning −{gain:.3f} (−" in told
    assert "lower held-out loss than the untuned base" in told
    assert "BLEU: " in told


def test_without_a_base_nothing_is_said_of_gains(written: vxlab.Comparison) -> None:
    table = metric_scores(written)
    alone = table[table["candidate"] == "untuned base"]
    assert generation_conclusion(alone).startswith("There is no untuned base")


def test_a_metric_that_could_not_be_computed_is_named(written: vxlab.Comparison) -> None:
    table = metric_scores(written)
    table.loc[table["metric"] == "bleu", ["score", "gain", "gain_low", "gain_high", "p_holm"]] = float("nan")
    assert "Not computed when these runs were made: BLEU." in generation_conclusion(table)


def test_a_metric_that_some_runs_lack_counts_those_that_have_it(written: vxlab.Comparison) -> None:
    runs = written.runs[(written.runs["candidate"] == "full fine-tuning") & (written.runs["stage"] == "report")]
    lacking, having = (written.records[key] for key in runs["key"])
    predicted, labels = lacking.predictions()
    predicted = predicted.clone()
    predicted[:, COLUMNS["bleu"]] = float("nan")
    without = _Without(**{each.name: getattr(lacking, each.name) for each in dataclasses.fields(lacking)})
    object.__setattr__(without, "given", (predicted, labels))
    mixed = dataclasses.replace(written, records=written.records | {lacking.key: without})
    table = metric_scores(mixed)
    row = table.set_index(["metric", "candidate"]).loc[("bleu", "full fine-tuning")]
    assert row["n"] == 1
    assert row["score"] == pytest.approx(having.score("bleu"))
    told = generation_conclusion(table)
    assert "Computed in a part of the runs alone: BLEU (full fine-tuning 1 of 2)." in told


class _Without(RunRecord):
    """A record of a run in which a metric was not computed."""

    def predictions(self, split: str = "test") -> tuple[torch.Tensor, torch.Tensor]:
        return self.given
