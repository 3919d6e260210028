"""A run's update, cut and scored again: what the kept part answers, and what cannot be cut."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_runs
import toy_writers

import vxlab
from vxlab.adapters import adapter_updates, detach
from vxlab.adapters.core import linear_weight
from vxlab.experiments.runs import base_weights, load_trained, updates_of
from vxlab.studies import AskedItems
from vxlab.studies.advisor.threshold import cut_all

MODULE = importlib.import_module("vxlab.studies.advisor.shrink")  # the package's own name is the function's
METHODS = {
    "lora": vxlab.LoRA(rank=4),
    "lora_xs": vxlab.LoRAXS(rank=4),
    "lidb": vxlab.LiDB(rank=2, aux_out=8, aux_in=8),
    "by layer": vxlab.LoRA(rank={"query": 2, "value": 5}),
    "full": vxlab.Full(),
    "peft": vxlab.PEFT("dora", r=4),
}
RATES = {"full": 2e-3, "lora_xs": 2e-2}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def run(tiny_model: str, toy_task: str, store: Path):
    def trained(method: vxlab.adapters.Method, rate: float = 1e-2, **changes: object) -> vxlab.RunRecord:
        spec = toy_runs.spec(tiny_model, toy_task, method=method, learning_rate=rate, epochs=1, **changes)
        return vxlab.run(spec, store=store, progress=False)

    return trained


def _dense_weights(record: vxlab.RunRecord, share: float) -> dict[str, torch.Tensor]:
    """Return W + ΔW with every whole ΔW cut by its own SVD in float64."""
    updates = updates_of(record)
    spectra = {name: torch.linalg.svd(each.to_matrix(), full_matrices=False) for name, each in updates.items()}
    values = torch.cat([S for _, S, _ in spectra.values()]).sort(descending=True).values
    least = values[int(((values**2).cumsum(0) < share * (values**2).sum()).sum())] * (1 - 1e-9)
    before = base_weights(record)
    return {
        name: before[name].double() + (U[:, least <= S] * S[least <= S]) @ Vh[least <= S]
        for name, (U, S, Vh) in spectra.items()
    }


def _answers_of(weights: dict[str, torch.Tensor], record: vxlab.RunRecord) -> np.ndarray:
    model, asked = detach(load_trained(record)), AskedItems(record)
    for name, weight in weights.items():
        linear_weight(model.get_submodule(name)).copy_(weight)
    return np.array(asked.answers(model))[np.argsort(asked.rows), 0]


@pytest.mark.parametrize("kind", METHODS)
def test_what_is_kept_scores_as_the_truncated_whole_matrices_do(kind, run, store):
    record = run(METHODS[kind], RATES.get(kind, 1e-2))
    found = vxlab.shrink(record, [0.6, 1], store=store)
    whole, cut = found.scores.to_dict("records")
    assert (whole["share"], whole["score"], whole["difference"]) == (1, record.score(), 0)
    answers, labels = _answers_of(_dense_weights(record, 0.6), record), record.predictions()[1].numpy()
    assert cut["score"] == pytest.approx((answers == labels).mean())
    trained, dense = MODULE._Trained(record, "cpu"), _dense_weights(record, 0.6)
    trained.take_off()
    with trained.with_kept(cut_all(trained.parts, 0.6)) as model:
        now = {name: layer.base_weight() + layer.delta_weight() for name, layer in vxlab.adapted_layers(model).items()}
        torch.testing.assert_close(now, {name: dense[name].float() for name in now}, rtol=0, atol=1e-6)
    assert cut["low"] < cut["difference"] < cut["high"]
    assert cut["difference"] == pytest.approx(cut["score"] - whole["score"])
    of_layers = found.ranks[found.ranks["share"] == 0.6]
    assert of_layers["kept"].sum() == cut["kept"] < whole["kept"]
    assert (of_layers["kept"] <= of_layers["trained"]).all()


def test_ranks_and_parameters_are_counted_in_both_forms(run, store):
    found = vxlab.shrink(run(METHODS["by layer"]), 0.5, store=store)
    assert dict(found.ranks.groupby("role")["trained"].first()) == {"query": 2, "value": 5}
    for share, rows in found.ranks.groupby("share"):
        told = found.scores.set_index("share").loc[share]
        assert told["parameters"] == told["own_parameters"] == 64 * rows["kept"].sum()
    found = vxlab.shrink(run(METHODS["lora_xs"], 2e-2), 0.5, store=store)
    kept = found.ranks[found.ranks["share"] == 0.5]["kept"]
    assert found.scores["own_parameters"].iloc[1] == sum(min(16, 8 * rank) for rank in kept)
    assert vxlab.shrink(run(METHODS["full"], 2e-3), 0.6, store=store).scores["own_parameters"].isna().all()


def test_vera_keeps_its_form_and_loses_the_smallest_terms(run, store):
    record = run(vxlab.VeRA(rank=16), 5e-2)
    found = vxlab.shrink(record, 0.7, store=store)
    terms = {}
    model = load_trained(record)
    for name, layer in vxlab.adapted_layers(model).items():
        left, right = (factor.detach().double() for factor in layer.factors())
        terms[name] = left.norm(dim=0) * right.norm(dim=1)
    values = torch.cat(list(terms.values())).sort(descending=True).values
    least = values[int(((values**2).cumsum(0) < 0.7 * (values**2).sum()).sum())]
    with torch.no_grad():
        for name, layer in vxlab.adapted_layers(model).items():
            layer.lambda_d[terms[name] < least * (1 - 1e-12)] = 0
    asked = AskedItems(record)
    answers = np.array(asked.answers(model))[np.argsort(asked.rows), 0]
    cut, labels = found.scores.iloc[1], record.predictions()[1].numpy()
    assert cut["score"] == pytest.approx((answers == labels).mean())
    kept = found.ranks[found.ranks["share"] == 0.7]["kept"]
    assert cut["kept"] == int((values >= least * (1 - 1e-12)).sum()) == kept.sum()
    assert cut["own_parameters"] == sum(32 + rank for rank in kept if rank)
    assert "terms" in found.sentence()


def test_a_planted_update_is_found_in_its_layer_with_its_rank(run, store, monkeypatch):
    record = run(METHODS["lora"])
    draw = torch.Generator().manual_seed(0)

    def planted(each: vxlab.RunRecord) -> torch.nn.Module:
        model = load_trained(each)
        layers = vxlab.adapted_layers(model)
        for place, layer in enumerate(layers.values()):
            with torch.no_grad():
                layer.A.copy_(torch.randn(layer.A.shape, generator=draw))
                layer.B.copy_(torch.randn(layer.B.shape, generator=draw) * (1e-6 if place else 1))
        chosen = next(iter(layers.values()))
        chosen.B.data[:, 3] = chosen.B.data[:, 0]  # rank 3 of 4
        return model

    monkeypatch.setattr(MODULE, "load_trained", planted)
    monkeypatch.setattr(MODULE, "_require_same_answers", lambda *_: None)
    tables = MODULE._shrunk(record, [1.0, 0.999999], "cpu")
    cut = tables.ranks[tables.ranks["share"] < 1]
    assert cut["kept"].tolist() == [3, *[0] * (len(cut) - 1)]


def test_the_tables_are_kept_and_nothing_is_asked_again(run, store, monkeypatch):
    record = run(METHODS["lora"])
    first = vxlab.shrink(record, 0.6, store=store)
    monkeypatch.setattr(MODULE, "AskedItems", None)
    assert vxlab.shrink(record, [1, 0.6], store=store).scores.equals(first.scores)


def test_a_model_that_writes_is_scored_by_how_likely_it_finds_the_references(tiny_writer, toy_prompts, store):
    changes = {"learning_rate": 1e-2, "epochs": 2, "max_new_tokens": 0}
    record = vxlab.run(toy_writers.spec(tiny_writer, toy_prompts, **changes), store=store, progress=False)
    found = vxlab.shrink(record, [0.3, 0.999], store=store)
    assert found.metric == "log_likelihood"
    assert found.scores["score"].iloc[0] == record.score()
    assert found.scores["score"].iloc[2] < found.scores["score"].iloc[1] == pytest.approx(record.score(), abs=0.05)
    assert "nats" in found.sentence()


def test_images_are_read_again_as_the_run_read_them(tiny_vit, toy_images, store):
    spec = toy_runs.spec(tiny_vit, toy_images, targets="all-linear", epochs=3)
    record = vxlab.run(spec, store=store, progress=False)
    found = vxlab.shrink(record, [0.999999, 0.2], store=store)
    assert found.scores["score"].iloc[0] == found.scores["score"].iloc[1] == record.score()
    assert found.scores["kept"].is_monotonic_decreasing
    assert found.scores["parameters"].iloc[0] == record.parameters["backbone"]


def test_what_cannot_be_cut_is_refused_in_words(run, store):
    lora = run(METHODS["lora"])
    for wrong in (0, -0.5, 1.2, float("nan"), True, [], [0.5, 0]):
        with pytest.raises(vxlab.VxlabError, match=r"share=.* is no share of the energy that stays"):
            vxlab.shrink(lora, wrong, store=store)
    with pytest.raises(vxlab.VxlabError, match=r"share='0\.5' is no list"):
        vxlab.shrink(lora, "0.5", store=store)
    with pytest.raises(vxlab.VxlabError, match="trained no adapter on layers"):
        vxlab.shrink(run(vxlab.Head()), 0.5, store=store)
    with pytest.raises(vxlab.VxlabError, match="trains nothing in the backbone"):
        vxlab.shrink(run(vxlab.Probe()), 0.5, store=store)
    diverged = vxlab.RunRecord(**{**vars(lora), "status": "diverged"})
    with pytest.raises(vxlab.VxlabError, match="diverged, so its update says nothing"):
        vxlab.shrink(diverged, 0.5, store=store)
    with pytest.raises(vxlab.VxlabError, match="run is None, not a trained run"):
        vxlab.shrink(None, 0.5, store=store)


def test_a_model_that_no_longer_answers_as_its_run_did_is_refused(run, store, monkeypatch):
    record = run(METHODS["lora"])
    logits, labels = record.predictions()
    monkeypatch.setattr(vxlab.RunRecord, "predictions", lambda self, split="test": (-logits, labels))
    with pytest.raises(vxlab.VxlabError, match="does not answer the test split as the run did"):
        MODULE._shrunk(record, [1.0, 0.5], "cpu")


def test_an_update_of_zero_is_refused(run, store, monkeypatch):
    record = run(METHODS["lora"])

    def untrained(each: vxlab.RunRecord) -> torch.nn.Module:
        model = load_trained(each)
        for layer in vxlab.adapted_layers(model).values():
            layer.B.data.zero_()
        assert adapter_updates(model)
        return model

    monkeypatch.setattr(MODULE, "load_trained", untrained)
    with pytest.raises(vxlab.VxlabError, match="its update is 0 in every layer"):
        MODULE._shrunk(record, [1.0, 0.5], "cpu")
