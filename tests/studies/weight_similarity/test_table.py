"""How alike the updates of saved runs are."""

import dataclasses

import numpy as np
import pytest
import torch
import toy_records as toy
from text_batches import text_batches

import vxlab
from vxlab.adapters.placement import adapter_parameters
from vxlab.analysis.subspaces import overlap
from vxlab.experiments.models.layer_inputs import layer_inputs
from vxlab.experiments.record import ADAPTER_FOLDER
from vxlab.experiments.runs.trained import trained_updates
from vxlab.studies.weight_similarity.rotation import rotation_table
from vxlab.studies.weight_similarity.statistics import mean_of
from vxlab.studies.weight_similarity.table import MEASURES, random_updates, require_role, similarity_table

TEXTS = ["a lovely film about people in town", "the story was boring", "great summer", "an awful, long, average film"]


def _similar(records, **how):
    return similarity_table(records, text_batches(records[0].spec["model"], TEXTS), **how)


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    """Return a function that writes a run of the tiny encoder whose trained tensors are random, by their own seed."""

    def write(method, seed=0, values=0, targets="query-value", **changed):
        model = vxlab.attach(vxlab.load_model(tiny_model, 2), method, targets)
        generator = torch.Generator().manual_seed(values)
        for own in adapter_parameters(model).values():
            for parameter in own.values():
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
        spec = {"model": tiny_model, "method": {"name": method.name, **method.settings()}, "seed": seed}
        folder = tmp_path_factory.mktemp("run")
        record = toy.run_record(folder, np.eye(2, dtype=np.float32), np.arange(2), **{"spec": spec, **changed})
        vxlab.save_adapter(model, record.folder / ADAPTER_FOLDER)
        return record

    return write


@pytest.fixture(scope="module")
def records(run):
    """Return two runs of LoRA, two of VeRA around one pair, and one of VeRA around another, all unrelated."""
    pair = vxlab.VeRA(rank=4, seed=8)
    return [
        run(vxlab.LoRA(rank=4), seed=0, values=1),
        run(vxlab.LoRA(rank=4), seed=1, values=2),
        run(pair, seed=0, values=3),
        run(pair, seed=1, values=4),
        run(vxlab.VeRA(rank=4, seed=9), seed=0, values=5),
    ]


@pytest.fixture(scope="module")
def table(records):
    return _similar(records, draws=2, leading=2)


def test_every_two_runs_and_random_updates_are_compared_in_every_layer(table):
    counts = table.groupby("kind").size().to_dict()
    assert counts == {
        "LoRA – LoRA, other seed": 4, "VeRA – LoRA, same seed": 4 * 3, "VeRA – LoRA, other seed": 4 * 3,
        "VeRA – VeRA, other seed": 4, "VeRA – VeRA, same seed, other frozen pair": 4,
        "VeRA – VeRA, other seed, other frozen pair": 4, "LoRA – random LoRA": 4 * 4, "VeRA – random VeRA": 4 * 6,
    }  # fmt: skip
    assert set(zip(table["block"], table["role"], strict=True)) == {(b, r) for b in (0, 1) for r in ("query", "value")}


def test_measures_are_those_of_the_full_matrices(records, table):
    ours, theirs = (trained_updates(records[i]) for i in (2, 1))
    rows = table[(table["first"] == "VeRA 8, seed 0") & (table["second"] == "LoRA, seed 1")]
    model = vxlab.load_model(records[0].spec["model"], 2)
    inputs = layer_inputs(model, list(ours), text_batches(records[0].spec["model"], TEXTS))
    assert len(rows) == 4
    for row in rows.itertuples():
        A, B = (each[row.layer].to_matrix() for each in (ours, theirs))
        assert row.cosine == pytest.approx(float((A * B).sum() / (A.norm() * B.norm())), abs=1e-10)
        for rank, prefix in ((4, ""), (2, "leading_")):
            for side, name in ((0, "columns"), (2, "rows")):
                bases = [torch.linalg.svd(each if side == 0 else each.T).U[:, :rank] for each in (A, B)]
                expected = float((bases[0].T @ bases[1]).square().sum() / rank)
                assert getattr(row, prefix + name) == pytest.approx(expected, abs=1e-9)
                assert getattr(row, f"{prefix}{name}_chance") == pytest.approx(rank / 32)
        assert row.cosine_chance == pytest.approx(1 / 32)
        assert inputs[row.layer].shape[1] == 32


def test_runs_of_peft_are_compared_like_others(run):
    pytest.importorskip("peft")
    lora = run(vxlab.LoRA(rank=4), seed=0, values=1)
    theirs = run(vxlab.PEFT("lora", r=4, lora_alpha=4), seed=1, values=1)  # the same numbers in the same order
    rows = _similar([lora, theirs], draws=1)
    assert rows.groupby("kind").size().to_dict() == {
        "LoRA (PEFT) – LoRA, other seed": 4, "LoRA (PEFT) – random LoRA (PEFT)": 4, "LoRA – random LoRA": 4,
    }  # fmt: skip
    same = rows[rows["kind"] == "LoRA (PEFT) – LoRA, other seed"]
    assert same[list(MEASURES)].to_numpy() == pytest.approx(1, abs=1e-6)
    dora = run(vxlab.PEFT("dora", r=4), values=3)
    rows = _similar([lora, dora], draws=0)
    expected = [trained_updates(lora)[layer].cosine(trained_updates(dora)[layer]) for layer in rows["layer"]]
    assert rows["cosine"].tolist() == pytest.approx(expected, abs=1e-12)
    with pytest.raises(vxlab.VxlabError, match=r"DoRA \(PEFT\), seed 0.*no random updates like it; take draws=0"):
        _similar([lora, dora], draws=1)


def test_the_same_run_twice_is_alike_in_full(run):
    twice = [run(vxlab.LoRA(rank=4), values=1), run(vxlab.LoRA(rank=4), values=1)]
    rows = _similar(twice, draws=1)
    same = rows[rows["kind"] == "LoRA – LoRA, same seed"]
    assert same[list(MEASURES)].to_numpy() == pytest.approx(1, abs=1e-9)


def test_the_interval_of_unrelated_runs_covers_0_and_is_as_narrow_as_chance(run):
    unrelated = [run(vxlab.LoRA(rank=4), seed=seed, values=10 + seed) for seed in range(4)]
    rows = _similar(unrelated, draws=3)
    for kind in ("LoRA – LoRA, other seed", "LoRA – random LoRA"):
        found = mean_of(rows, kind)
        assert found.low < 0 < found.high
        assert found.high - found.low < 4 / 32  # of one pair in one layer, ±1.96/32


def test_the_row_space_of_one_frozen_pair_is_shared_by_construction(table):
    by_kind = table.groupby("kind")["rows"].mean()
    assert by_kind["VeRA – VeRA, other seed"] == pytest.approx(1)
    assert by_kind["VeRA – VeRA, same seed, other frozen pair"] < 0.5


def test_random_updates_keep_norms_frozen_parts_and_the_task_out(records):
    drawn = random_updates(records[2], [0, 1])
    again = random_updates(records[2], [1])[0]
    trained = trained_updates(records[2])
    assert len(drawn) == 2
    for layer, update in trained.items():
        assert drawn[0][layer].right.equal(update.right)  # the frozen A
        assert not drawn[0][layer].left.equal(update.left)
        assert not drawn[0][layer].left.equal(drawn[1][layer].left)
        torch.testing.assert_close(drawn[1][layer].left, again[layer].left, rtol=1e-5, atol=1e-7)
    lora, random = trained_updates(records[0]), random_updates(records[0], [5])[0]
    for layer, update in lora.items():
        for mine, theirs in ((update.left, random[layer].left), (update.right, random[layer].right)):
            assert float(theirs.norm()) == pytest.approx(float(mine.norm()), rel=1e-5)


def test_a_run_that_trained_nothing_has_no_similarity(run):
    still = run(vxlab.LoRA(rank=4), seed=1)
    model = vxlab.attach(vxlab.load_model(still.spec["model"], 2), vxlab.LoRA(rank=4))
    vxlab.save_adapter(model, still.folder / ADAPTER_FOLDER)
    rows = _similar([run(vxlab.LoRA(rank=4), values=1), still], draws=1)
    assert rows.loc[rows["kind"] == "LoRA – LoRA, other seed", list(MEASURES)].isna().all(axis=None)
    assert rows.loc[rows["first"] == "LoRA, seed 0", "cosine"].notna().all()


def test_runs_that_cannot_be_compared_are_named(run, records):
    lora = records[0]
    others = {
        "differ in their ranks: .* has 4, .* has 2": run(vxlab.LoRA(rank=2)),
        r"differ in their ranks: .* has 4, .* has r=4 \(query\), 2 \(value\)": run(
            vxlab.LoRA(rank={"query": 4, "value": 2})
        ),
        "differ in their base models": run(vxlab.LoRA(rank=4), identity={"model": "another"}),
        "LoRA, seed 3 and LoRA, seed 0 adapt other layers, `.*value` among them": run(
            vxlab.LoRA(rank=4), seed=3, targets="query"
        ),
        "differ in their settings beside the seed": run(vxlab.LoRA(rank=4, alpha=8)),
        "VeRA, seed 2 .* draws its frozen pair from seed 0, with which LoRA, seed 0": run(vxlab.VeRA(rank=4), seed=2),
        "diverged, so its update says nothing": run(vxlab.LoRA(rank=4), status="diverged"),
    }
    for message, other in others.items():
        with pytest.raises(vxlab.VxlabError, match=message):
            _similar([lora, other])
    with pytest.raises(vxlab.VxlabError, match=r"records holds 1 run\(s\); similarity needs two"):
        _similar([lora])
    with pytest.raises(vxlab.VxlabError, match="records holds None: a run failed or is not in the store"):
        _similar([lora, None])
    with pytest.raises(vxlab.VxlabError, match="batches is empty"):
        similarity_table(records[:2], [])


def _with_spec(record, **spec):
    return dataclasses.replace(record, spec={**record.spec, **spec})


@pytest.mark.parametrize("field", ["learning_rate", "epochs", "train_examples", "targets"])
def test_runs_of_one_family_differ_in_their_seeds_alone(records, field):
    apart = [_with_spec(record, **{field: value}) for value, record in enumerate(records[:2])]
    with pytest.raises(
        vxlab.VxlabError, match=f"differ in their {field}: LoRA, seed 0 .* has 0, LoRA, seed 1 .* has 1"
    ):
        _similar(apart)


def test_families_share_their_task_and_may_have_rates_of_their_own(records):
    lora, vera = records[0], records[2]
    with pytest.raises(vxlab.VxlabError, match=r"differ in their tasks: .* has sst2, VeRA.* has mrpc"):
        _similar([_with_spec(lora, task="sst2"), _with_spec(vera, task="mrpc")])
    own = {"learning_rate": 1e-3, "device": "cpu"}, {"learning_rate": 1e-2, "device": "cuda", "task_folder": "glue"}
    runs = [_with_spec(record, **spec) for record, spec in zip((lora, vera), own, strict=True)]
    assert len(_similar(runs, draws=0)) == 4


def test_where_a_run_was_trained_moves_no_update(records):
    elsewhere = _with_spec(records[1], device="cuda", task_folder="glue")
    assert len(_similar([records[0], elsewhere], draws=0)) == 4


def test_a_role_that_the_targets_lack_is_refused_before_training(tiny_model):
    spec = vxlab.RunSpec(method=vxlab.LoRA(rank=2), learning_rate=1e-3, head_learning_rate=1e-3, model=tiny_model)
    require_role(spec, "query")
    with pytest.raises(vxlab.VxlabError, match=r"role='fused-qkv' is of none .* which are query, value; choose one"):
        require_role(spec, "fused-qkv")


def test_a_frozen_pair_of_a_runs_own_seed_holds_the_numbers_that_lora_starts_from(tiny_model):
    """Why such pairs are refused: without any training, the row spaces are the same but for what the head took."""
    torch.manual_seed(0)
    lora = vxlab.attach(vxlab.load_model(tiny_model, 2), vxlab.LoRA(rank=4), "query")
    rights = [next(iter(vxlab.adapted_layers(lora).values())).factors()[1]]
    for seed in (0, 1000):
        vera = vxlab.attach(vxlab.load_model(tiny_model, 2), vxlab.VeRA(rank=4, seed=seed), "query")
        rights.append(next(iter(vxlab.adapted_layers(vera).values())).factors()[1])
    start, shared, other = (right.detach().double() for right in rights)
    assert overlap(start.T, shared.T) >= 0.5 - 1e-6  # two of the four rows; the head took the numbers of two
    assert overlap(start.T, other.T) < 0.4


def test_inputs_are_what_the_layer_is_given_without_padding(tiny_model):
    model = vxlab.load_model(tiny_model, 2)
    layers = ["bert.encoder.layer.0.attention.self.query", "bert.encoder.layer.1.output.dense"]
    whole = layer_inputs(model, layers, text_batches(tiny_model, TEXTS))
    alone = [layer_inputs(model, layers, text_batches(tiny_model, [text])) for text in TEXTS]
    for layer in layers:
        torch.testing.assert_close(whole[layer], torch.cat([each[layer] for each in alone]), rtol=1e-4, atol=1e-5)
    assert whole[layers[1]].shape[1] == model.get_submodule(layers[1]).in_features
    assert len(layer_inputs(model, layers, text_batches(tiny_model, TEXTS), tokens=5)[layers[0]]) == 5
    assert not model.get_submodule(layers[0])._forward_pre_hooks
    pairs = layer_inputs(model, layers, text_batches(tiny_model, [("great", "film"), ("awful", "story")]))
    assert pairs[layers[0]].dtype == torch.float64


def test_rotations_tell_a_run_from_itself_and_not_unrelated_runs(records):
    itself = rotation_table(records[0], records[0], samples=60)
    assert itself["cosine"].tolist() == pytest.approx([1] * 4)
    assert itself["p"].tolist() == pytest.approx([1 / 161] * 4)  # 40 rotations for each of four layers
    assert itself["p_holm"].tolist() == pytest.approx([4 / 161] * 4)
    more = rotation_table(records[0], records[0], role="query", samples=90)
    assert more["p"].tolist() == pytest.approx([1 / 91] * 2)
    unrelated = rotation_table(records[2], records[0], role="query", samples=60)
    assert set(unrelated["role"]) == {"query"}
    assert (unrelated["p_holm"] > 0.05).all()
    assert (unrelated["low"] < 0).all()
    other = dataclasses.replace(records[1], identity={"model": "another"})
    with pytest.raises(vxlab.VxlabError, match=r"differ in their base models: .* has another"):
        rotation_table(records[0], other)
    with pytest.raises(vxlab.VxlabError, match="role='key' names no layer that both runs adapt; the first has query"):
        rotation_table(records[0], records[1], role="key")
