"""What a live run of a model that writes tells while it trains, and at its end."""

from pathlib import Path

import pytest
import toy_writers

import vxlab
from vxlab.views.explorers.live.state import SoFar, describe_end
from vxlab.views.figures import learning_curves


def test_a_run_that_writes_is_watched_by_its_log_likelihood(tiny_writer: str, toy_prompts: str, tmp_path: Path) -> None:
    spec = toy_writers.spec(tiny_writer, toy_prompts, method=vxlab.LoRA(rank=4))
    told = SoFar(spec, spec.load_task())
    record = vxlab.run(spec, store=tmp_path, progress=False, listener=told)
    assert told.best_epoch == record.best_epoch == 2
    assert [row["value"] for row in told.metrics] == pytest.approx(
        [row["value"] for row in record.metrics if (row["split"], row["metric"]) == ("validation", "log_likelihood")]
    )
    told.step -= 1
    assert "best validation log-likelihood per token −" in told.words()
    figure = learning_curves({"LoRA": told})
    assert figure.layout.yaxis.title.text == "training loss (cross-entropy per token)"
    assert figure.layout.yaxis2.title.text == "validation log-likelihood per token"
    loss, score, _ = figure.data
    assert len(loss.y) == len(record.curve)
    assert max(score.y) < 0
    assert "test log-likelihood per token <b>−" in describe_end(record)
