"""Sentences say what the table holds, in the loss's direction."""

import vxlab
from vxlab.studies.generation import generation_conclusion, metric_scores


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
    assert "Not computed here: BLEU." in generation_conclusion(table)
