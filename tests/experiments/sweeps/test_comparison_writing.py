"""A comparison of models that write: the untuned base as its floor, scores below zero, and what is said and drawn."""

import re
from pathlib import Path
from typing import Any

import pytest

import vxlab
from vxlab import Base, Candidate, FairSweep, Full, LoRA
from vxlab.experiments.candidates import floor_of
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps.fair_stages import announce
from vxlab.experiments.sweeps.stored import stored_sweeps
from vxlab.views.explorers.rank import explore_rank
from vxlab.views.explorers.sweep import explore_sweep
from vxlab.views.figures import differences, learning_curves, score_against_parameters, tuning_curves
from vxlab.words import write_number

METRIC = "log-likelihood per token"


def fair(model: str, task: str, **fields: Any) -> FairSweep:
    settings = {
        "model": model, "task": task, "answer_column": "answer", "epochs": 4, "batch_size": 8, "max_length": 64,
        "max_new_tokens": 12, "targets": "all-linear", "device": "cpu",
    }  # fmt: skip
    candidates = [Candidate(Full(), learning_rate=1e-2), Candidate(LoRA(rank=4), learning_rate=2e-2), Base()]
    budget: dict[str, Any] = {"learning_rates": 1, "report_seeds": 2, "widen": 0} | fields
    return FairSweep(candidates=candidates, settings=settings, **budget)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def result(tiny_writer: str, toy_prompts: str, store: Path) -> vxlab.Comparison:
    return vxlab.compare(fair(tiny_writer, toy_prompts), store=store, progress=False)


def test_the_verdict_holds_each_candidate_against_token_frequencies_and_the_untuned_base(result):
    rows = result.summary.set_index("candidate")
    assert result.metric == "log_likelihood"
    assert floor_of(rows.to_dict("index")) == "untuned base"
    assert rows["mean"]["full fine-tuning"] > rows["mean"]["LoRA r=4"] > rows["mean"]["untuned base"]
    assert rows["above"].tolist() == [True, False, False]
    told = result.verdict()
    assert f"the trivial answer (token frequencies: {METRIC} −3.069)" in told
    assert f"The floor, which trains nothing, is **untuned base**: {METRIC} −6." in told
    assert f"nats of {METRIC}, 95 %" in told
    assert "head" not in told
    assert not re.search(r"-\d", told)  # a true minus sign everywhere


def test_a_margin_is_in_nats(result):
    pairs, summary = result.pairs.copy(), result.summary.copy()
    summary["above"] = True
    pairs.loc[:, ["difference", "low", "high", "error", "seen"]] = 0.01, 0.005, 0.015, 0.002, False
    told = vxlab.Comparison(**{**vars(result), "pairs": pairs, "summary": summary}).verdict(margin=0.05)
    assert f"Equivalent within 0.050 nats of {METRIC}" in told
    with pytest.raises(vxlab.VxlabError, match=r"margin=2: a loss of score lies between 0 and 1, .* 0\.02 nats"):
        result.verdict(margin=2)


def test_its_figures_name_the_loss_and_stand_below_zero(result, store):
    records = {name: next(iter(result.records.values())) for name in ("one",)}
    assert learning_curves(records).layout.yaxis.title.text == "training loss (cross-entropy per token)"
    figure = score_against_parameters(result.summary, metric=result.metric, held_out=result.held_out)
    names = [trace.name for trace in figure.data]
    assert "token frequencies: −3.069" in names
    assert any(name.startswith("untuned base: −6.") for name in names)
    assert not figure.layout.yaxis.autorangeoptions.to_plotly_json()
    title = differences(result.pairs, metric=result.metric).layout.xaxis.title.text
    assert title == f"difference in test {METRIC}, nats, and its own 95 % interval"
    hover = [
        text for trace in tuning_curves(result.tuning, metric=result.metric).data for text in trace.customdata or ()
    ]
    assert hover
    assert not any("head" in text for text in hover)
    assert all("median −" in text for text in hover)


def test_the_explorers_show_it(result, store, tiny_writer):
    figure = explore_sweep(result, interactive=False)
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert any(text and "training loss, 2 runs" in text for text in texts)
    assert "<b>untuned base</b>, scored without training" in str(figure.to_dict())
    with Store(store) as kept:
        (stored,) = stored_sweeps(kept)
    assert stored.metric == "log_likelihood"
    assert set(stored.summary["candidate"]) == {"full fine-tuning", "LoRA r=4", "untuned base"}
    ranks = explore_rank(tiny_writer, targets="all-linear", store=store, interactive=False)
    said = str(ranks.to_dict())
    assert "task head" not in said
    mean = stored.summary.set_index("candidate")["mean"]["LoRA r=4"]
    assert write_number(mean, ".3f") in said


def test_rates_that_were_not_tried_are_drawn_as_such(result, tiny_writer, toy_prompts, store):
    given = vxlab.compare(fair(tiny_writer, toy_prompts, tuning_seeds=0, report_seeds=1), store=store, progress=False)
    assert given.tuning["chosen"].all()
    texts = [annotation.text for annotation in explore_sweep(given, interactive=False).layout.annotations]
    assert "not tuned" in texts
    assert "nan" not in str(explore_sweep(given, interactive=False).layout)


def test_the_plan_counts_what_is_written(tiny_writer, toy_prompts, tmp_path):
    told = announce(fair(tiny_writer, toy_prompts, head_learning_rates=(5e-3, 1e-2)), store=tmp_path)
    assert told.startswith("7 runs: 2 to tune and 5 to report. About ")  # there is no head, whose rates would differ
