"""The atlas stands in where the user's own store has nothing: on the same weights alone, marked, and never pooled."""

import dataclasses

import pytest
from toy_records import IDENTITY, key_of, metric_rows, stored_record, toy_spec

import vxlab
from vxlab.errors import VxlabError, VxlabWarning
from vxlab.experiments.models.files import model_fingerprint
from vxlab.experiments.store.store import Store
from vxlab.studies import atlas_runs
from vxlab.views.explorers.rank import explore_rank
from vxlab.views.explorers.sweep import explore_sweep

ORIGIN = "of the atlas, measured on a processor"


@pytest.fixture
def weights(tiny_model):
    return model_fingerprint(tiny_model)


@pytest.fixture
def stores(tiny_model, tmp_path, monkeypatch):
    """Yield a function that puts a run into the user's own store or into the atlas; both are in ``stores.files``."""
    files = {"own": tmp_path / "own" / "runs.db", "atlas": tmp_path / "cache" / "atlas" / "some.db"}
    for file in files.values():
        file.parent.mkdir(parents=True)
    monkeypatch.setattr(atlas_runs, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(atlas_runs, "atlas_files", lambda: [files["atlas"]] if files["atlas"].exists() else [])
    monkeypatch.setattr(atlas_runs, "atlas", lambda: Store(files["atlas"], read_only=True))
    added = []

    def add(where, model, weights, test, *, rank=8, seed=0, task="rotten_tomatoes", status="finished", **spec):
        settings = toy_spec(method=vxlab.LoRA(rank=rank), seed=seed, model=model, task=task, **spec)
        scores = metric_rows({"accuracy": test, "f1": test}, (0.7, 0.8, 0.75))
        identity = IDENTITY | {"model": weights}
        with Store(files[where]) as store:
            like = stored_record(store.folder, key_of(len(added)), spec=settings, identity=identity)
            store.finish(dataclasses.replace(like, metrics=scores, status=status), "host:1:0.0:me")
        added.append(where)

    add.files = files
    return add


def _found(stores, model, weights, **more):
    return atlas_runs.measured_candidates(stores.files["own"], model, weights=weights, **more)


def test_where_the_own_store_has_none_the_atlass_are_shown_whatever_it_calls_the_model(stores, tiny_model, weights):
    for seed in range(3):
        stores("atlas", "tiny", weights, 0.6 + 0.1 * seed, seed=seed)
    found = _found(stores, tiny_model, weights)
    assert found.table[["label", "n"]].to_numpy().tolist() == [["LoRA r=8", 3]]
    assert found.table["mean"].tolist() == pytest.approx([0.7])
    assert found.table[["low", "high"]].notna().all(axis=None)
    assert found.origin == ORIGIN


def test_own_runs_come_first_and_are_never_pooled_with_the_atlass(stores, tiny_model, weights):
    stores("own", tiny_model, weights, 0.9, seed=7)
    for seed in range(3):
        stores("atlas", tiny_model, weights, 0.6, seed=seed)
        stores("atlas", tiny_model, weights, 0.6, seed=seed, rank=4)
    found = _found(stores, tiny_model, weights)
    assert found.table[["label", "n", "mean"]].to_numpy().tolist() == [["LoRA r=8", 1, 0.9]]
    assert found.origin == ""


def test_nothing_is_shown_of_other_weights_or_of_a_base_that_was_quantised(stores, tiny_model, weights):
    stores("atlas", tiny_model, "ffff" * 16, 0.6)
    stores("atlas", tiny_model, f"{weights} nf4", 0.7, seed=1, quantisation="nf4")
    for known in (weights, None):
        found = _found(stores, tiny_model, known)
        assert (len(found.table), found.origin) == (0, "")


def test_weights_that_share_their_first_digits_alone_are_others(stores, tiny_model, weights):
    stores("atlas", tiny_model, weights[:12] + "0" * 52, 0.6)
    assert _found(stores, tiny_model, weights).table.empty


def test_the_usual_task_comes_first_and_a_named_one_is_taken_or_none(stores, tiny_model, weights):
    for rank in (4, 8):
        stores("atlas", tiny_model, weights, 0.6, rank=rank, task="sst2")
    stores("atlas", tiny_model, weights, 0.8)
    assert _found(stores, tiny_model, weights).protocol.startswith("rotten_tomatoes")
    assert _found(stores, tiny_model, weights, task="sst2").table["mean"].tolist() == [0.6, 0.6]
    assert _found(stores, tiny_model, weights, task="rte").table.empty


def test_a_task_that_the_own_store_lacks_is_the_atlass_though_another_is_there(stores, tiny_model, weights):
    stores("own", tiny_model, weights, 0.9, task="rte")
    stores("atlas", tiny_model, weights, 0.6, task="sst2")
    assert _found(stores, tiny_model, weights, task="sst2").origin == ORIGIN
    assert _found(stores, tiny_model, weights).table["mean"].tolist() == [0.9]


def test_own_runs_on_other_weights_are_told_beside_the_atlass(stores, tiny_model, weights):
    stores("own", tiny_model, "ffff" * 16, 0.9)
    stores("atlas", tiny_model, weights, 0.6)
    found = _found(stores, tiny_model, weights)
    assert (found.origin, found.elsewhere, found.table["mean"].tolist()) == (ORIGIN, 1, [0.6])


def test_a_metric_that_was_not_scored_is_refused(stores, tiny_model, weights):
    stores("atlas", tiny_model, weights, 0.6)
    with pytest.raises(VxlabError, match="metric='matthews' was not scored"):
        _found(stores, tiny_model, weights, metric="matthews")


def test_the_atlas_given_as_the_store_is_marked_too(stores, tiny_model, weights):
    stores("atlas", tiny_model, weights, 0.6)
    with Store(stores.files["atlas"], read_only=True) as given:
        assert atlas_runs.is_atlas(given)
        found = atlas_runs.measured_candidates(given, tiny_model, weights=weights)
        assert (found.origin, len(found.table)) == (ORIGIN, 1)
        shown = explore_sweep(given, interactive=True)
    assert f"<b>LoRA r=8</b>, {ORIGIN}: test accuracy" in shown.words.value.replace("<br>", " ")
    with Store(stores.files["own"], read_only=False) as own:
        assert not atlas_runs.is_atlas(own)


def test_an_atlas_that_cannot_be_read_is_warned_of_and_fails_nothing(stores, tiny_model, weights, monkeypatch):
    stores("atlas", tiny_model, weights, 0.6)

    def refuse():
        raise VxlabError("the atlas has another format; fetch it again")

    monkeypatch.setattr(atlas_runs, "atlas", refuse)
    with pytest.warns(VxlabWarning, match="the atlas is not shown: the atlas has another format; fetch it again"):
        assert _found(stores, tiny_model, weights).table.empty


def test_without_an_atlas_nothing_is_shown(stores, tiny_model, weights):
    assert _found(stores, tiny_model, weights).table.empty
    assert atlas_runs.atlas_sweeps() == ([], [])
    assert atlas_runs.atlas_overview(tiny_model, stores.files["own"]).empty


def test_sweeps_of_the_atlas_are_those_of_models_that_are_here_with_the_same_weights(stores, tiny_model, weights):
    stores("atlas", tiny_model, weights, 0.6)
    stores("atlas", "/nowhere/tiny", weights, 0.7, seed=1)
    stores("atlas", tiny_model, "ffff" * 16, 0.7, seed=2)
    sweeps, left_out = atlas_runs.atlas_sweeps()
    assert [sweep.name.endswith(", tiny (atlas)") for sweep in sweeps] == [True]
    assert sweeps[0].summary["mean"].tolist() == [0.6]
    assert (sweeps[0].origin, left_out) == (ORIGIN, ["/nowhere/tiny"])


def test_the_overview_has_a_row_a_task_which_validation_chose(stores, tiny_model, weights):
    for seed in range(2):
        stores("atlas", "tiny", weights, 0.6, seed=seed)
    stores("atlas", "tiny", weights, 0.7, task="sst2")
    stores("atlas", "tiny", weights, 0.9, task="sst2", seed=1, ends_after=0.5, status="ended early")
    stores("atlas", "tiny", "ffff" * 16, 0.9, task="rte")
    found = atlas_runs.atlas_overview(tiny_model, stores.files["own"])
    assert found[["task", "runs", "highest on validation"]].to_numpy().tolist() == [
        ["rotten_tomatoes", 2, "LoRA r=8"], ["sst2", 1, "LoRA r=8"]
    ]  # fmt: skip
    assert found["test score"].str.match(r"0\.\d{3} \(0\.\d{3} to \d\.\d{3}\)").all()
    said = atlas_runs.atlas_sentence(found, "tiny")
    assert "has 3 runs on 2 tasks, on the same weights, measured on a processor" in said
    stores("own", tiny_model, weights, 0.5)
    gone = atlas_runs.atlas_overview(tiny_model, stores.files["own"])
    assert (len(gone), atlas_runs.atlas_sentence(gone, "tiny")) == (0, "")


def test_both_explorers_show_the_atlass_scores_and_say_whose_they_are(stores, tiny_model, weights):
    for seed in range(2):
        stores("atlas", tiny_model, weights, 0.6 + 0.1 * seed, seed=seed, rank=4)
    ranks = explore_rank(tiny_model, ranks=[4], store=stores.files["own"], interactive=True)
    assert "<b>Test accuracy 0.650 (2 seeds: 0.600, 0.700; 95 % over test items and seeds" in ranks.words.value
    assert f"</b> {ORIGIN}, rotten_tomatoes" in ranks.words.value
    sweep = explore_sweep(stores.files["own"].parent, interactive=True)
    words = sweep.words.value.replace("<br>", " ")
    assert f"<b>LoRA r=4</b>, {ORIGIN}: mean test accuracy 0.650" in words
    assert "has no runs yet: what is shown is the atlas's." in words
    assert sweep.figure.layout.yaxis.title.text == "test accuracy, mean, of the atlas"
    assert not stores.files["own"].exists()  # looking at a store makes none
    stores("own", tiny_model, weights, 0.9)
    assert "atlas" not in explore_sweep(stores.files["own"], interactive=True).words.value
