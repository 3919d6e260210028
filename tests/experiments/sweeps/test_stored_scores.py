"""What a store measured of a model's candidates: which runs count, which rate is chosen, and what is reported."""

import dataclasses

import pytest
from toy_records import IDENTITY, key_of, metric_rows, stored_record, toy_spec

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments.scoring.metrics import interval
from vxlab.experiments.scoring.significance import score_intervals
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps.stored import stored_sweeps
from vxlab.experiments.sweeps.stored_scores import best_runs, is_usual, store_sentence, stored_candidates

LORA, VERA = vxlab.LoRA(rank=8), vxlab.VeRA(rank=64)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        yield store


@pytest.fixture
def add(store):
    """Return a function that puts a run into the store."""
    added = []

    def add(
        method=LORA,
        *,
        seed=0,
        rate=1e-3,
        test=0.8,
        validation=0.8,
        backbone=1000,
        status="finished",
        identity=(),
        versions=(),
        **spec,
    ):
        settings = toy_spec(method=method, seed=seed, learning_rate=rate, **spec)
        rows = metric_rows({"accuracy": test, "f1": test - 0.1}, (validation - 0.1, validation, validation - 0.2))
        key = key_of(len(added))
        changed = {"parameters": {"backbone": backbone, "head": 10, "total": 10_000}, "metrics": rows, "spec": settings}
        changed |= {"identity": IDENTITY | dict(identity), "versions": dict(versions)}
        record = dataclasses.replace(stored_record(store.folder, key), **changed, status=status)
        store.finish(record, "host:1:0.0:me")
        added.append(key)
        return key

    return add


def _row(found, label):
    (row,) = found.table[found.table["label"] == label].to_dict("records")
    return row


def test_a_candidate_reports_the_mean_and_the_scores_of_its_seeds(store, add):
    for seed, test in enumerate((0.7, 0.8, 0.9, 0.81)):
        add(seed=seed, test=test)
    row = _row(stored_candidates(store, "minilm"), "LoRA r=8")
    assert (row["n"], row["mean"]) == (4, pytest.approx(0.8025))
    assert row["scores"] == pytest.approx((0.7, 0.8, 0.9, 0.81))


def test_several_runs_have_their_interval_over_items_and_seeds(store, add):
    keys = [add(seed=seed) for seed in range(3)]
    add(VERA)
    row = _row(stored_candidates(store, "minilm"), "LoRA r=8")
    runs = {seed: store.predictions(key)[0].numpy() for seed, key in enumerate(keys)}
    labels = store.predictions(keys[0])[1].numpy()
    assert (row["low"], row["high"]) == score_intervals({"LoRA": runs}, labels)["LoRA"]


def test_runs_say_what_they_were_on(store, add):
    add()
    found = stored_candidates(store, "minilm")
    assert (found.machines, found.origin) == ("a processor", "")


def test_only_runs_with_the_given_keys_count(store, add):
    keys = [add(seed=seed, test=0.6 + 0.1 * seed) for seed in range(3)]
    assert _row(stored_candidates(store, "minilm", keys=keys[:2]), "LoRA r=8")["mean"] == pytest.approx(0.65)
    assert stored_candidates(store, "minilm", keys=[]).table.empty


def test_validation_chooses_the_rate_and_fresh_seeds_report(store, add):
    add(seed=0, rate=1e-3, validation=0.9, test=0.6)
    add(seed=0, rate=1e-2, validation=0.8, test=0.99)
    for seed, test in ((10, 0.71), (11, 0.73), (12, 0.72)):
        add(seed=seed, rate=1e-3, validation=0.1, test=test)
    row = _row(stored_candidates(store, "minilm"), "LoRA r=8")
    assert (row["learning_rate"], row["mean"], row["n"], row["edge"]) == (1e-3, pytest.approx(0.72), 3, "low")


def test_one_run_has_its_interval_over_items(store, add):
    key = add(test=0.8)
    row = _row(stored_candidates(store, "minilm"), "LoRA r=8")
    logits, labels = (tensor.numpy() for tensor in store.predictions(key))
    assert (row["low"], row["high"]) == interval("accuracy", logits, labels)


def test_a_diverged_run_is_counted_and_scores_nothing(store, add):
    for seed, status in enumerate(("finished", "finished", "diverged")):
        add(seed=seed, status=status, test=0.8 if status == "finished" else float("nan"))
    add(VERA, status="diverged", test=float("nan"), validation=float("nan"))
    found = stored_candidates(store, "minilm")
    assert [_row(found, "LoRA r=8")[name] for name in ("n", "diverged", "mean")] == [2, 1, 0.8]
    assert _row(found, "VeRA r=64")["n"] == 0
    assert not _row(found, "VeRA r=64")["front"]


def test_the_front_is_what_nothing_beats_for_less(store, add):
    add(LORA, test=0.8, backbone=1000)
    add(VERA, test=0.7, backbone=100)
    add(vxlab.LoRAXS(rank=4), test=0.69, backbone=500)
    table = stored_candidates(store, "minilm").table
    assert table.set_index("label")["front"].to_dict() == {"LoRA r=8": True, "VeRA r=64": True, "LoRA-XS r=4": False}


def test_a_method_with_a_part_changed_is_no_run_of_the_usual_one(store, add):
    add(vxlab.VeRA(rank=64, seed=1000), test=0.7)
    add(vxlab.VeRA(rank=64, vectors="d"), test=0.9)
    found = stored_candidates(store, "minilm")
    assert (_row(found, "VeRA r=64")["mean"], found.others) == (0.7, 1)
    assert not is_usual({"name": "lora_xs", **vxlab.LoRAXS(basis="bottom").settings()})
    assert is_usual({"name": "lora", **vxlab.LoRA(rank=4, alpha=32).settings()})


def test_ranks_by_layer_are_candidates_of_their_own(store, add):
    allocations = [dict(zip("abcd", ranks, strict=True)) for ranks in ((1, 2, 4, 8), (8, 4, 2, 1))]
    for seed in (0, 1):
        for number, rank in enumerate([8, *allocations]):
            add(vxlab.LoRA(rank=rank), seed=seed, test=0.7 + 0.1 * number)
    found = stored_candidates(store, "minilm").table
    assert list(found["n"]) == [2, 2, 2]
    assert list(found["family"]) == ["LoRA", "LoRA by layer", "LoRA by layer"]
    assert found["rank"].isna().tolist() == [False, True, True]
    assert sorted(found["mean"]) == pytest.approx([0.7, 0.8, 0.9])
    assert is_usual({"name": "lora", "rank": allocations[0]})
    (sweep,) = stored_sweeps(store)
    assert list(sweep.summary["method"]) == ["LoRA", "LoRA by layer", "LoRA by layer"]
    assert sweep.summary["candidate"].nunique() == 3
    assert best_runs(store)["highest on validation"].str.len().max() < 50


def test_runs_under_the_protocol_with_most_candidates_are_told_apart_from_others(store, add):
    add(LORA, train_examples=100, test=0.9)
    for method in (LORA, VERA):
        add(method, train_examples=1600, test=0.8, seed=1)
    found = stored_candidates(store, "minilm")
    assert found.table["mean"].tolist() == [0.8, 0.8]
    assert found.protocol == "rotten_tomatoes (1,600 training examples, 2 epochs)"
    assert found.others == 1
    add(LORA, task="sst2", test=0.5)
    assert stored_candidates(store, "minilm", task="sst2").table["mean"].tolist() == [0.5]


def test_another_metric_can_be_reported_and_an_unscored_one_is_refused(store, add):
    add(test=0.8)
    assert _row(stored_candidates(store, "minilm", metric="f1"), "LoRA r=8")["mean"] == pytest.approx(0.7)
    with pytest.raises(VxlabError, match=r"metric='matthews' was not scored on toy; choose one of accuracy, f1"):
        stored_candidates(store, "minilm", metric="matthews")


def test_no_run_is_an_empty_table_and_no_store_is_made(store, add, tmp_path, monkeypatch):
    add()
    assert len(stored_candidates(store, "mpnet").table) == len(stored_candidates(store, None).table) == 0
    assert len(stored_candidates(store, "minilm", task="rte").table) == 0
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path / "absent"))
    for where in (None, tmp_path / "absent" / "runs.db", str(tmp_path / "absent")):
        assert len(stored_candidates(where, "minilm").table) == len(best_runs(where)) == 0
    assert not (tmp_path / "absent").exists()


OTHERS = {
    "model": ({"model": "ffff"}, "weights ffff"),
    "task": ({"task": "eeee accuracy f1"}, "data eeee"),
    "precision": ({"precision": "bfloat16"}, "bfloat16"),
    "vxlab": ({"vxlab": "2.0"}, "vxlab 2.0"),
    "processes": ({"processes": "2"}, "processes 2"),
    "loading": ({"loading": "padding 0"}, "loading padding 0"),
}


@pytest.mark.parametrize(("other", "told"), OTHERS.values(), ids=OTHERS)
def test_runs_of_one_name_that_are_others_are_never_one_candidates(store, add, other, told):
    for seed in range(3):
        add(seed=seed, test=0.6)
    for seed in range(3):
        add(seed=seed, test=0.9, identity=other)
    add(VERA, test=0.9, identity=other)  # so that these are the protocol with most candidates
    found = stored_candidates(store, "minilm")
    row = _row(found, "LoRA r=8")
    assert (row["n"], row["mean"], found.others) == (3, 0.9, 3)
    assert told in found.protocol


@pytest.mark.parametrize("library", ["torch", "transformers"])
def test_runs_by_another_library_are_never_pooled(store, add, library):
    add(test=0.6, versions={library: "2.11.0"})
    for seed in range(2):
        add(seed=seed, test=0.9, versions={library: "2.13.0"})
    add(VERA, test=0.9, versions={library: "2.13.0"})  # so that these are the protocol with most candidates
    found = stored_candidates(store, "minilm")
    assert (_row(found, "LoRA r=8")["n"], found.others) == (2, 1)
    assert f"{library} 2.13.0" in found.protocol


def test_a_librarys_version_is_its_own_methods_candidate(store, add):
    for version, test in (("0.17.0", 0.6), ("0.18.0", 0.8)):
        add(vxlab.PEFT("dora", {"r": 8}), test=test, identity={"peft": version})
    add(LORA, test=0.7)
    table = stored_candidates(store, "minilm").table
    assert dict(zip(table["label"], table["mean"], strict=True)) == {
        "DoRA r=8 (PEFT), peft 0.17.0": 0.6, "DoRA r=8 (PEFT), peft 0.18.0": 0.8, "LoRA r=8": 0.7
    }  # fmt: skip


def test_only_runs_on_the_weights_that_the_model_has_are_its_scores(store, add):
    for seed in range(2):
        add(seed=seed, test=0.6)
    add(test=0.9, identity={"model": "ffff"})
    found = stored_candidates(store, "minilm", weights="ffff")
    assert (_row(found, "LoRA r=8")["mean"], found.others, found.elsewhere) == (0.9, 2, 2)
    assert len(stored_candidates(store, "minilm", weights="eeee").table) == 0
    assert stored_candidates(store, "minilm", weights="eeee").elsewhere == 3


def test_runs_like_a_given_one_share_all_that_its_protocol_was_told(store, add):
    for seed in range(2):
        add(seed=seed, test=0.6, epochs=9)
    add(VERA, test=0.7, epochs=9)
    add(test=0.8, rate=3e-3, text_columns=("sentence",), epochs=1)
    rates = {"learning_rate": 1.0, "head_learning_rate": 1.0}
    like = vxlab.RunSpec(method=VERA, targets="all-linear", text_columns=("sentence",), epochs=1, **rates)
    found = stored_candidates(store, "minilm", like=like)
    assert found.table[["label", "mean"]].to_numpy().tolist() == [["LoRA r=8", 0.8]]
    assert found.others == 3
    assert len(stored_candidates(store, "minilm", like=dataclasses.replace(like, epochs=2)).table) == 0


def test_the_overview_mixes_no_runs_of_one_name(store, add):
    add(test=0.6)
    add(test=0.7, identity={"model": "ffff"})
    add(VERA, test=0.8, identity={"model": "ffff"})
    add(VERA, test=0.9, identity={"model": "ffff", "vxlab": "2.0"})
    assert best_runs(store)[["model", "method", "runs", "test score"]].to_numpy().tolist() == [
        ["minilm, weights 0a1b", "LoRA", 1, 0.6],
        ["minilm, weights ffff", "LoRA", 1, 0.7],
        ["minilm, weights ffff", "VeRA, vxlab 1.0", 1, 0.8],
        ["minilm, weights ffff", "VeRA, vxlab 2.0", 1, 0.9],
    ]


def test_more_training_examples_are_no_other_data(store, add):
    add(test=0.6, train_examples=100)
    add(test=0.7, train_examples=200, identity={"task": "eeee accuracy f1"})
    assert set(best_runs(store)["model"]) == {"minilm"}


def test_the_overview_shows_the_run_that_validation_chose(store, add):
    add(LORA, validation=0.9, test=0.6)
    add(vxlab.LoRA(rank=4), validation=0.8, test=0.99)
    add(VERA, validation=0.7, test=0.7, targets="mlp")
    runs = best_runs(store)
    assert runs[["method", "layers", "runs", "highest on validation", "test score"]].to_numpy().tolist() == [
        ["LoRA", "query-value", 2, "LoRA r=8", 0.6], ["VeRA", "mlp", 1, "VeRA r=64", 0.7]
    ]  # fmt: skip
    assert store_sentence(runs) == "The store holds **3 runs** that finished, of 1 model on 1 task by 2 methods."
    assert "Nothing has been measured" in store_sentence(runs.head(0))


def test_a_method_that_goes_on_no_layers_has_no_targets_and_no_run_counts_twice(store, add):
    for seed in range(2):
        for targets in ("query-value", "all-linear"):  # BitFit's numbers are the same under both
            add(vxlab.BitFit(), seed=seed, targets=targets, test=0.6 + 0.1 * seed)
    add(vxlab.LoRA(rank=8), targets="mlp")
    row = _row(stored_candidates(store, "minilm"), "BitFit")
    assert (row["n"], row["targets"], row["mean"]) == (2, "none", pytest.approx(0.65))
    (sweep,) = stored_sweeps(store)
    own = sweep.runs[sweep.runs["method"] == "BitFit"]
    assert (set(own["candidate"]), set(own["targets"]), len(own)) == ({"BitFit"}, {"none"}, 2)
    assert best_runs(store)["layers"].tolist() == ["none", "mlp"]
