"""LoRA-XS in bands that start alike, and where finished runs' updates lie."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import toy_runs

import vxlab
from vxlab.experiments.candidates.held_out import HeldOut
from vxlab.experiments.runs.gradients import first_batches, first_gradients, weight_gradients
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.runs.trained import base_weights, finished_run, full_updates, trained_updates
from vxlab.experiments.sweeps.comparison import Comparison
from vxlab.experiments.sweeps.fair_recipes import fair_study
from vxlab.experiments.sweeps.step_reach import reach
from vxlab.studies.subspaces import bands as bands_module
from vxlab.studies.subspaces.bands import SIZES, whereabouts
from vxlab.studies.subspaces.bases import (
    BASES,
    IN_WORDS,
    band_candidates,
    by_basis,
)
from vxlab.studies.subspaces.capture import band_capture


@pytest.fixture(scope="module")
def weights():
    generator = torch.Generator().manual_seed(0)
    decay = torch.diag(torch.logspace(0, -2, 24))
    return {f"layer.{i}.query": torch.randn(24, 24, generator=generator) @ decay for i in range(2)}


def test_at_its_middle_rate_each_basis_moves_the_weights_equally_far(weights):
    moved = {}
    for candidate in band_candidates(weights, 4):
        frozen = candidate.method.frozen(weights)
        signs = torch.randn(4, 4, generator=torch.Generator().manual_seed(1)).sign().double()  # an Adam step from 0
        steps = [
            candidate.centre * each["left_basis"].double() @ signs @ each["right_basis"].double()
            for each in frozen.values()
        ]
        moved[candidate.method.basis] = torch.stack(steps).norm()
    assert list(moved) == list(BASES)
    assert all(0.8 < float(far / moved["top"]) < 1.25 for far in moved.values())
    assert moved["random"] == pytest.approx(moved["top"], rel=0.25)


def test_the_top_basis_keeps_the_usual_rates_and_weaker_bands_take_higher_ones(weights):
    centres = {each.method.basis: each.centre for each in band_candidates(weights, 4)}
    (usual,) = fair_study([vxlab.LoRAXS(rank=4)]).names.values()
    assert centres["top"] == centres["random"] == usual.centre
    (slow,) = band_candidates(weights, 4, ["middle"], rate=usual.centre / 10)
    assert slow.centre == pytest.approx(centres["middle"] / 10, rel=0.02)
    assert centres["top"] < centres["random-svd"] < centres["middle"] < centres["bottom"]


def test_reach_is_the_expected_size_of_a_signed_step(weights):
    method = vxlab.LoRAXS(rank=4, basis="middle", sigma="split", alpha=2.0)
    generator = torch.Generator().manual_seed(2)
    frozen = method.frozen(weights)
    squares = []
    for _ in range(400):
        signs = torch.randn(4, 4, generator=generator).sign().double()
        for each in frozen.values():
            step = 0.5 * each["left_basis"].double() @ signs @ each["right_basis"].double()
            squares.append(float(step.square().sum()))
    assert reach(method, weights) == pytest.approx(float(np.sqrt(np.mean(squares))), rel=0.03)


def test_a_basis_that_needs_a_run_is_refused(weights):
    with pytest.raises(vxlab.VxlabError, match="basis='gradient' is unknown; choose one of top, middle"):
        band_candidates(weights, 4, ["gradient"])


def test_results_go_by_their_basis_in_every_table(weights):
    fair = fair_study(band_candidates(weights, 4, ["top", "bottom"]))
    top, bottom = fair.names
    table = pd.DataFrame({"candidate": [top, bottom], "method": "LoRA-XS"})
    sentence = f"{top} is better than {bottom} by 2 points."
    pairs = pd.DataFrame({"a": [top], "b": [bottom], "sentence": [sentence]})
    named = by_basis(Comparison(fair, "accuracy", HeldOut(10, 0.5), table, table, table, pairs))
    words = [IN_WORDS["top"], IN_WORDS["bottom"]]
    assert named.runs["candidate"].tolist() == named.summary["candidate"].tolist() == words
    assert named.tuning["method"].tolist() == words  # a panel each
    assert named.pairs.iloc[0].tolist() == [*words, "top of W is better than bottom of W by 2 points."]


@pytest.fixture(scope="module")
def records(tiny_model: str, toy_task: str, tmp_path_factory: pytest.TempPathFactory):
    store: Path = tmp_path_factory.mktemp("store")
    full = toy_runs.spec(tiny_model, toy_task, method=vxlab.Full(), learning_rate=2e-3, epochs=1)
    lora = toy_runs.spec(tiny_model, toy_task, epochs=1)
    runs = {"full": full, "LoRA": lora}
    return store, {name: vxlab.run(spec, store=store, progress=False) for name, spec in runs.items()}


def test_whereabouts_are_of_the_runs_own_weights_and_updates(records):
    store, runs = records
    found = whereabouts(runs, directions=2, fractions=[*SIZES, 0.5], store=store)
    weights, dense = base_weights(runs["full"]), full_updates(runs["full"])
    row = found.energies.query("update == 'full' and band == 'top' and fraction == 0.5").iloc[3]
    U, _, Vt = np.linalg.svd(weights[row["layer"]].double().numpy(), full_matrices=False)
    delta, k = dense[row["layer"]].to_matrix().numpy(), row["rank"]
    kept = U[:, :k].T @ delta @ Vt[:k].T
    assert row["both"] == pytest.approx((kept**2).sum() / (delta**2).sum())
    other = whereabouts({"full": runs["full"]}, fractions=[*SIZES, 0.3], store=store)
    assert sorted(other.energies["fraction"].unique()) == [0.0625, 0.125, 0.25, 0.3, 0.5, 0.75, 1.0]
    thin = set(found.energies.query("update == 'LoRA'")["layer"])
    assert thin == set(trained_updates(runs["LoRA"])) < set(weights)
    assert set(found.spectra["of"]) == {"W", "full", "LoRA"}
    assert found.angles["number"].max() == 2


def test_whereabouts_are_kept_and_read_without_a_model(records, monkeypatch):
    store, runs = records
    first = whereabouts(runs, directions=2, fractions=[*SIZES, 0.5], store=store)
    monkeypatch.setattr(bands_module, "base_weights", None)
    again = whereabouts(runs, directions=2, fractions=[*SIZES, 0.5], store=store)
    for a, b in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(a, b)
    with pytest.raises(TypeError):
        whereabouts(runs, directions=1, fractions=[*SIZES, 0.5], store=store)


def test_runs_of_several_models_are_not_laid_against_one(records):
    _, runs = records
    lora = runs["LoRA"]
    changed = {"identity": {**lora.identity, "model": "ffff"}}
    with pytest.raises(vxlab.VxlabError, match="runs differ in their base models"):
        whereabouts({**runs, "other": vxlab.RunRecord(**{**vars(lora), **changed})})


def test_capture_by_basis_is_best_for_the_gradients_own(records, tiny_model, toy_task):
    store, _ = records
    spec = toy_runs.spec(tiny_model, toy_task, batch_size=4)
    table = band_capture(spec, [2, 4], ["top", "gradient"], batches=4, store=store)
    means = table.groupby(["family", "rank"])["share"].mean()
    assert means[IN_WORDS["gradient"], 4] > 3 * means[IN_WORDS["top"], 4]
    assert means[IN_WORDS["top"], 4] > means[IN_WORDS["top"], 2]
    assert (table["share"] <= table["best"] + 1e-9).all()
    with pytest.raises(vxlab.VxlabError, match="batches=1 is too few for an interval"):
        band_capture(spec, [2], ["top"], batches=1)
    with pytest.raises(vxlab.VxlabError, match="ranks is empty"):
        band_capture(spec, [], ["top"])


def test_the_gradients_basis_is_the_runs_own_and_judged_on_what_comes_after(records, tiny_model, toy_task):
    store, _ = records
    spec = toy_runs.spec(tiny_model, toy_task, batch_size=4)
    table = band_capture(spec, [3], ["top", "gradient"], batches=2, store=store)
    materials = Materials()
    fresh = list(first_batches(spec, materials, 18))[16:]
    own = first_gradients(spec, materials)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        model = materials.model(spec)
    layers = vxlab.resolve_targets(model, spec.targets)
    judged = [weight_gradients(model, [batch], layers) for batch in fresh]
    for row in table[table["family"] == IN_WORDS["gradient"]].itertuples():
        U, _, Vh = torch.linalg.svd(own[row.layer].double())
        each = [batch[row.layer].double() for batch in judged]
        kept = [float((U[:, :3].T @ G @ Vh[:3].T).square().sum() / G.square().sum()) for G in each]
        assert row.share == pytest.approx(np.mean(kept), rel=1e-4)


def test_a_split_without_later_batches_is_judged_without_the_gradients_basis(records, tiny_model, toy_task):
    store, _ = records
    spec = toy_runs.spec(tiny_model, toy_task)  # 15 batches
    table = band_capture(spec, [2], ["top", "gradient"], batches=3, store=store)
    assert set(table["family"]) == {IN_WORDS["top"]}
    assert table["share"].between(0, 1).all()


def test_runs_that_did_not_finish_are_refused_in_words(records):
    store, runs = records
    lost = vxlab.RunRecord(**{**vars(runs["LoRA"]), "status": "diverged"})
    with pytest.raises(vxlab.VxlabError, match=r"LoRA, seed 0 \(run \w+\) diverged, so its update says nothing"):
        whereabouts({**runs, "LoRA": lost}, store=store)
    row = {"key": runs["LoRA"].key, "status": "finished", "label": "any", "error": None}
    assert finished_run(row, store=store).key == row["key"]
    failed = {"key": "0" * 64, "status": "failed", "label": "full", "error": "MemoryError: out of memory"}
    with pytest.raises(vxlab.VxlabError, match=r"full \(failed\) has no result: MemoryError"):
        finished_run(failed, store=store)
