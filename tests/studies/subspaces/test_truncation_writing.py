"""A fine-tuned model that writes, with one band of its spectra: how likely it finds the answers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import toy_writers

import vxlab
from vxlab.adapters.core.roles import role_of
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.runs.trained import load_trained
from vxlab.experiments.runs.written import likelihoods
from vxlab.studies import claims_table, judge
from vxlab.studies.subspaces import kept_shares, truncation_scores
from vxlab.studies.subspaces.claims import truncation_claims
from vxlab.studies.subspaces.kept_bands import KeptBands
from vxlab.studies.subspaces.sentences import kept_sentence
from vxlab.studies.subspaces.truncation import EVERY, REMOVED, UNTOUCHED, truncated_answers

METRIC = "log_likelihood"


@pytest.fixture(scope="module")
def spec(tiny_writer: str, toy_prompts: str, tmp_path_factory: pytest.TempPathFactory) -> vxlab.RunSpec:
    """Return a run whose first test prompt has a second reference."""
    task = tmp_path_factory.mktemp("references") / "toy"
    shutil.copytree(toy_prompts, task)
    test = task / "test.jsonl"
    first, *others = test.read_text(encoding="utf-8").splitlines()
    more = json.dumps({**json.loads(first), "answer": "Nothing is known of it."})
    test.write_text("\n".join([first, *others, more]) + "\n", encoding="utf-8")
    changes = {"method": vxlab.Full(), "learning_rate": 1e-2, "epochs": 4, "max_new_tokens": 0}
    return toy_writers.spec(tiny_writer, str(task), **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def record(spec: vxlab.RunSpec, store: Path) -> vxlab.RunRecord:
    return vxlab.run(spec, store=store, progress=False)


@pytest.fixture(scope="module")
def answers(record: vxlab.RunRecord, store: Path) -> pd.DataFrame:
    return truncated_answers(record, fractions=[0.25, 1], bands=["top", "bottom"], store=store)


def _sums(answers: pd.DataFrame, role: str, band: str, fraction: float) -> np.ndarray:
    rows = answers[(answers["role"] == role) & (answers["band"] == band) & (answers["fraction"] == fraction)]
    return rows.sort_values("item")[["answer", "tokens"]].to_numpy()


def test_the_untouched_model_finds_the_answers_as_likely_as_the_run_did(answers, record):
    sums = record.predictions()[0].numpy()
    assert len(sums) == toy_writers.ROWS["test"]
    np.testing.assert_allclose(_sums(answers, "", UNTOUCHED, 1), sums, rtol=1e-6)
    np.testing.assert_allclose(_sums(answers, EVERY, "top", 1), sums, rtol=1e-4)
    whole = truncation_scores(answers, METRIC).iloc[0]
    assert whole["score"] == pytest.approx(record.score(METRIC), rel=1e-6)
    assert whole["low"] < whole["score"] < whole["high"]


def test_a_band_of_a_role_is_that_of_its_own_svd(answers, record, spec):
    model = load_trained(record)
    for name, module in vxlab.resolve_targets(model, "all-linear").items():
        if role_of(name) == "up":
            U, S, Vh = np.linalg.svd(module.weight.detach().double().numpy(), full_matrices=False)
            module.weight.data = torch.from_numpy((U[:, :8] * S[:8]) @ Vh[:8]).float()  # a quarter of 32
    materials = Materials()
    expected = likelihoods(model, materials.job(spec), materials, "test")
    np.testing.assert_allclose(_sums(answers, "up", "top", 0.25), expected, rtol=1e-5)


def test_shares_of_the_gain_are_paired_over_the_items(answers, record):
    trivial = record.task["majority"]["test"][METRIC]
    bands = KeptBands(answers, METRIC, trivial)
    scores = truncation_scores(answers, METRIC).set_index(["role", "band", "fraction"])["score"]
    expected = (scores[EVERY, "top", 0.25] - trivial) / (scores["", UNTOUCHED, 1] - trivial)
    found = bands.share([EVERY], "top", [0.25])
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high < bands.share([EVERY], "top", [1]).value + 1e-6
    table = kept_shares(answers, 0.25, metric=METRIC, trivial=trivial)
    assert set(table["band"]) == {"top", "bottom", REMOVED}
    assert bands.contrast([EVERY], [EVERY], "top", [0.25], against="bottom").low > 0
    told = kept_sentence(answers, metric=METRIC, trivial=trivial)
    assert f"on {toy_writers.ROWS['test']} test items" in told
    claims = claims_table(judge(truncation_claims(answers, metric=METRIC, trivial=trivial)))
    assert claims["here"].str.contains("of the gain").all()


def test_no_band_keeps_a_gain_that_there_is_not(answers, record):
    score = record.score(METRIC)
    assert kept_shares(answers, 0.25, metric=METRIC, trivial=score)["share"].isna().all()


def test_fewer_items_are_asked_with_all_of_their_references(answers, record, store):
    ask = {"fractions": [0.25], "bands": ["top"], "roles": ["up"], "store": store}
    some = truncated_answers(record, items=toy_writers.ROWS["test"] - 1, **ask)
    assert some["item"].nunique() == toy_writers.ROWS["test"] - 1
    both = some.merge(answers, on=["role", "band", "fraction", "item"])
    assert len(both) == len(some)
    np.testing.assert_allclose(both["answer_x"], both["answer_y"], rtol=1e-5)
    assert (both["tokens_x"] == both["tokens_y"]).all()
