"""A fine-tuned model with one band of its spectra: what it answers is what the rebuilt weights answer."""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import toy_runs

import vxlab
from vxlab.adapters.core.roles import role_of
from vxlab.experiments.runs.trained import base_weights, load_trained
from vxlab.studies.subspaces import truncation
from vxlab.studies.subspaces.truncation import EVERY, REMOVED, UNTOUCHED, truncated_answers

ROLES = ["query", "key", "value", "attention-output", "up", "down"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def record(tiny_model: str, toy_task: str, store: Path) -> vxlab.RunRecord:
    spec = toy_runs.spec(tiny_model, toy_task, method=vxlab.Full(), learning_rate=2e-3, epochs=1)
    return vxlab.run(spec, store=store, progress=False)


@pytest.fixture(scope="module")
def subject(record: vxlab.RunRecord) -> truncation._Subject:
    return truncation._Subject(record, None)


def _answers(table: pd.DataFrame, role: str, band: str, fraction: float) -> np.ndarray:
    rows = table[(table["role"] == role) & (table["band"] == band) & np.isclose(table["fraction"], fraction)]
    return rows.sort_values("item")["answer"].to_numpy()


def _asked(subject: truncation._Subject) -> np.ndarray:
    return np.array(subject.answers())[np.argsort(subject.rows), 0]


def test_the_untouched_model_answers_as_the_run_did(record, store):
    table = truncated_answers(record, fractions=[0.5], bands=["top"], roles=["query"], store=store)
    logits, labels = record.predictions()
    assert _answers(table, "", UNTOUCHED, 1).tolist() == logits.argmax(-1).tolist()
    whole = table[table["band"] == UNTOUCHED].sort_values("item")
    assert whole["label"].tolist() == labels.tolist()


@pytest.mark.parametrize("what", ["weight", "update"])
def test_bands_that_hold_all_triplets_change_no_answer(record, store, what):
    table = truncated_answers(record, what, fractions=[1], bands=["top", "middle", "bottom", "random"], store=store)
    whole = _answers(table, "", UNTOUCHED, 1)
    assert len(set(whole)) == 2  # else all would agree, whatever was cut
    assert set(table["role"]) == {"", *ROLES, EVERY}
    for (role, band), _ in table[table["fraction"] == 1].groupby(["role", "band"]):
        assert _answers(table, role, band, 1).tolist() == whole.tolist()


@pytest.mark.parametrize("band", ["top", "bottom"])
def test_a_band_of_a_role_is_that_of_its_own_svd(record, store, subject, band):
    table = truncated_answers(record, fractions=[0.25], bands=["top", "bottom"], store=store)
    model = load_trained(record)
    for name, module in vxlab.resolve_targets(model, "all-linear").items():
        if role_of(name) == "up":
            U, S, Vh = np.linalg.svd(module.weight.detach().double().numpy(), full_matrices=False)
            keep = slice(0, 8) if band == "top" else slice(24, 32)  # a quarter of 32
            module.weight.data = torch.from_numpy((U[:, keep] * S[keep]) @ Vh[keep]).float()
    subject_of_it = truncation._Subject(record, None)
    subject_of_it.model = model
    expected = _asked(subject_of_it)
    assert _answers(table, "up", band, 0.25).tolist() == expected.tolist()


def test_all_updates_removed_is_the_first_model_with_the_trained_head(record, store):
    table = truncated_answers(record, "update", fractions=[0.5], bands=["top"], store=store)
    before = truncation._Subject(record, None)
    weights = base_weights(record)
    for name, module in vxlab.resolve_targets(before.model, "all-linear").items():
        module.weight.data = weights[name].clone()
    assert _answers(table, EVERY, REMOVED, 0).tolist() == _asked(before).tolist()


def test_each_state_starts_from_the_trained_model(subject):
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    layers = subject.by_role["value"]
    zeros = {name: torch.zeros_like(module.weight) for name, module in layers.items()}
    with contextlib.suppress(RuntimeError), subject.with_weights(zeros, "value"):
        assert all(not module.weight.any() for module in layers.values())
        raise RuntimeError("an evaluation that fails")
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.model.state_dict().items())


def test_answers_are_kept_and_not_asked_again(record, store, monkeypatch):
    ask = {"fractions": [0.5], "bands": ["top"], "roles": ["key"], "store": store}
    table = truncated_answers(record, **ask)
    monkeypatch.setattr(truncation, "_Subject", None)
    pd.testing.assert_frame_equal(truncated_answers(record, **ask), table)
    with pytest.raises(TypeError):
        truncated_answers(record, seed=1, **ask)


def test_each_answer_names_the_unit_of_its_item(record, store, monkeypatch):
    ask = {"fractions": [0.5], "bands": ["top"], "roles": ["key"], "store": store}
    table = truncated_answers(record, **ask)
    assert (table["unit"] == table["item"]).all()
    units = np.arange(len(record.predictions()[1]))[::-1] // 2
    monkeypatch.setattr(vxlab.RunRecord, "units", lambda self, split="test": units)
    table = truncated_answers(record, **ask)
    assert table["unit"].tolist() == units[table["item"]].tolist()


def test_a_role_that_is_named_twice_is_asked_once_on_the_device_that_is_named(record, store, monkeypatch):
    ask = {"fractions": [0.5], "bands": ["top"], "store": store}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # auto would take it
    twice = truncated_answers(record, roles=["down", "down"], **ask)
    assert not twice.duplicated(["role", "band", "fraction", "item"]).any()
    with pytest.raises(vxlab.VxlabError, match="device='tpu' is unknown"):
        truncated_answers(record, roles=["up"], device="tpu", **ask)


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_answers_are_computed_in_the_runs_precision(record, precision):
    same = vxlab.RunRecord(**{**vars(record), "precision": precision})
    subject = truncation._Subject(same, 4)
    seen = []
    layer = next(iter(subject.by_role["up"].values()))
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    subject.answers()
    assert set(seen) == {getattr(torch, precision)}


def test_fewer_items_are_a_stratified_part_of_all(record, store):
    ask = {"fractions": [0.5], "bands": ["top"], "roles": ["key"], "store": store}
    some, every = truncated_answers(record, items=10, **ask), truncated_answers(record, items=10**6, **ask)
    assert (some["item"].nunique(), every["item"].nunique()) == (10, toy_runs.ROWS["test"])
    labels = some[some["band"] == UNTOUCHED]["label"]
    assert (labels == 0).sum() == 6  # three in five are of class 0
    both = some.merge(every, on=["role", "band", "fraction", "item"])
    assert len(both) == len(some)
    assert (both["label_x"] == both["label_y"]).all()


def test_what_cannot_be_cut_is_refused_in_words(record, store, tiny_model, toy_task):
    with pytest.raises(vxlab.VxlabError, match=r"what='bias' is unknown; choose one of weight, update"):
        truncated_answers(record, "bias", store=store)
    with pytest.raises(vxlab.VxlabError, match=r"fractions=\[0\] must be some, each above 0 and at most 1"):
        truncated_answers(record, fractions=[0], store=store)
    with pytest.raises(vxlab.VxlabError, match=r"role='gate' is unknown; choose one of query, key"):
        truncated_answers(record, roles=["gate"], store=store)
    with pytest.raises(vxlab.VxlabError, match="'upper' is an unknown band"):
        truncated_answers(record, bands=["upper"], store=store)
    lora = vxlab.RunRecord(**{**vars(record), "spec": {**record.spec, "method": {"name": "lora"}}})
    with pytest.raises(vxlab.VxlabError, match=r"is of lora; truncation needs a run of Full"):
        truncated_answers(lora, store=store)
