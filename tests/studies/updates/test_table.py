"""A run's layers in numbers, and two runs beside each other: as the whole matrices say."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from toy_updates import moved_run

import vxlab
from vxlab.experiments.runs.trained import base_weights, full_updates, load_trained, trained_updates, updates_of
from vxlab.studies.updates import table as module
from vxlab.studies.updates.pairs import pair_table
from vxlab.studies.updates.table import CELLS, trained_layers, update_tables

METHODS = {
    "lora": vxlab.LoRA(rank=3), "vera": vxlab.VeRA(rank=5), "xs": vxlab.LoRAXS(rank=30), "full": vxlab.Full(),
    "peft:lora": vxlab.PEFT("lora", r=3), "peft:dora": vxlab.PEFT("dora", r=2), "peft:vera": vxlab.PEFT("vera", r=5),
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: moved_run(folder / name, tiny_model, method, seed=i, far=0.01 if name == "full" else 0.1)
        for i, (name, method) in enumerate(METHODS.items())
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def _line(tables, layer, what):
    own = tables.points[(tables.points["layer"] == layer) & (tables.points["what"] == what)]
    return own["at"].to_numpy(), own["value"].to_numpy()


@pytest.mark.parametrize("name", METHODS)
def test_a_layers_row_and_spectrum_are_those_of_its_whole_matrices(runs, store, name):
    tables, weights = update_tables(runs[name], store=store), base_weights(runs[name])
    dense = {layer: update.to_matrix() for layer, update in updates_of(runs[name]).items()}
    assert tables.layers["layer"].tolist() == list(dense)
    for row in tables.layers.itertuples():
        W, delta = weights[row.layer].double().numpy(), dense[row.layer].numpy()
        S = np.linalg.svd(delta, compute_uv=False)
        assert row.relative_norm == pytest.approx(np.linalg.norm(delta) / np.linalg.norm(W), rel=1e-6)
        assert row.rank == np.linalg.matrix_rank(delta)
        assert row.stable_rank == pytest.approx((S**2).sum() / S[0] ** 2)
        assert (row.top, row.weight_top) == pytest.approx((S[0], np.linalg.norm(W, 2)))
        numbers, values = _line(tables, row.layer, "spectrum")
        assert values == pytest.approx(S[numbers.astype(int) - 1])
        U, moved = np.linalg.svd(W)[0], np.linalg.svd(W + delta)[0]
        cosines = np.abs(U[:, : min(W.shape)].T @ moved[:, :10]).max(0)
        assert _line(tables, row.layer, "similarity")[1] == pytest.approx(cosines, abs=1e-6)
        assert row.intruders == (cosines < 0.5).sum()


def test_what_a_family_trained_is_there_and_what_it_lacks_is_not(runs, store):
    layer = update_tables(runs["vera"], store=store).layers.iloc[1]
    trained = vxlab.adapted_layers(load_trained(runs["vera"]))[layer["layer"]].trained_tensors()
    assert layer["d_norm"] == pytest.approx(float(trained["lambda_d"].detach().norm()))
    assert layer["b_norm"] == pytest.approx(float(trained["lambda_b"].detach().norm()))
    assert math.isnan(layer["core_norm"])
    at, values = _line(update_tables(runs["vera"], store=store), layer["layer"], "d")
    assert at.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert values == pytest.approx(sorted(trained["lambda_d"].detach().abs().tolist(), reverse=True))
    assert {*update_tables(runs["lora"], store=store).points["what"]} == {"spectrum", "similarity", "outputs", "inputs"}


def test_kept_tables_outlive_the_runs_folder_and_are_not_those_of_another_training(runs, store, tmp_path):
    tables = update_tables(runs["lora"], store=store)
    lost = dataclasses.replace(runs["lora"], folder=tmp_path / "gone")
    assert update_tables(lost, store=store).layers.equals(tables.layers)
    with pytest.raises(vxlab.VxlabError, match=r"its adapter .* is not there"):
        update_tables(dataclasses.replace(lost, train_seconds=lost.train_seconds + 1), store=store)


def test_rows_and_columns_are_in_units_of_an_even_spread(runs, store):
    tables = update_tables(runs["lora"], store=store)
    layer, update = next(iter(trained_updates(runs["lora"]).items()))
    delta = update.to_matrix().numpy()
    even = np.linalg.norm(delta) / math.sqrt(delta.shape[0])
    assert _line(tables, layer, "outputs")[1] == pytest.approx(np.sort(np.linalg.norm(delta, axis=1))[::-1] / even)


def test_a_large_core_is_told_by_the_strongest_of_each_square(runs, store):
    tables = update_tables(runs["xs"], store=store)
    row = tables.layers.iloc[0]
    R = vxlab.adapted_layers(load_trained(runs["xs"]))[row["layer"]].trained_tensors()["R"].detach().numpy()
    assert row["core_rank"] == 30 > CELLS
    values = _line(tables, row["layer"], "R")[1].reshape(15, 15)
    square = R[4:6, 8:10].flatten()
    assert values[2, 4] == pytest.approx(square[np.abs(square).argmax()] / np.abs(R).max(), rel=1e-5)
    assert np.abs(values).max() == pytest.approx(1)
    assert row["core_largest"] == pytest.approx(np.abs(R).max())


def test_an_update_of_zero_is_told_and_compared_with_nothing(runs, tiny_model, tmp_path):
    still = moved_run(tmp_path / "still", tiny_model, vxlab.LoRA(rank=3), far=0.0)
    tables = update_tables(still, store=tmp_path)
    assert tables.layers[["norm", "rank", "stable_rank", "intruders"]].to_numpy().tolist() == [[0, 0, 0, 0]] * 4
    assert "spectrum" not in set(tables.points["what"])
    pairs = pair_table(still, runs["lora"], store=tmp_path)
    assert pairs.drop(columns=["layer", "cosine_chance"]).isna().all(axis=None)


def test_two_runs_are_alike_as_their_whole_updates_are(runs, store):
    pairs = pair_table(runs["lora"], runs["vera"], store=store).set_index("layer")
    a, b = (trained_updates(runs[name]) for name in ("lora", "vera"))
    assert list(pairs.index) == list(a)
    for layer, row in pairs.iterrows():
        x, y = (each[layer].to_matrix().numpy() for each in (a, b))
        assert row["cosine"] == pytest.approx((x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y))
        assert row["cosine_chance"] == pytest.approx(1 / 32)
        U, V = np.linalg.svd(x)[0][:, :3], np.linalg.svd(y)[0][:, :5]
        assert row["columns"] == pytest.approx(((U.T @ V) ** 2).sum() / 3)
        assert row["columns_chance"] == row["rows_chance"] == pytest.approx(5 / 32)


def test_beside_full_fine_tuning_an_adapters_own_layers_are_compared(runs, store):
    for first, second in (("full", "lora"), ("lora", "full")):
        pairs = pair_table(runs[first], runs[second], store=store)
        assert set(pairs["layer"]) == set(trained_updates(runs["lora"]))
        assert pairs["columns"].tolist() == pytest.approx([1.0] * 4)  # a whole matrix reaches every output


def test_a_run_of_peft_stands_beside_others(runs, store):
    for first, second in (("peft:lora", "lora"), ("vera", "peft:dora"), ("peft:vera", "full")):
        pairs = pair_table(runs[first], runs[second], store=store).set_index("layer")
        a, b = (trained_updates(runs[n]) if n != "full" else full_updates(runs[n]) for n in (first, second))
        for layer, row in pairs.iterrows():
            x, y = (each[layer].to_matrix().numpy() for each in (a, b))
            assert row["cosine"] == pytest.approx((x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-10)


def test_what_is_no_update_of_a_weight_is_refused_with_its_reason(runs, store, tiny_model, tmp_path):
    biased = moved_run(tmp_path / "beft", tiny_model, vxlab.PEFT("beft"))
    with pytest.raises(vxlab.VxlabError, match="the adapter changes the bias of `bert"):
        update_tables(biased, store=store)
    with pytest.raises(vxlab.VxlabError, match="the adapter changes the bias of `bert"):
        pair_table(runs["lora"], biased, store=store)


def test_tables_are_read_again_without_a_model(runs, store, monkeypatch):
    first = update_tables(runs["lora"], store=store)
    monkeypatch.setattr(module, "load_trained", None)
    assert all(a.equals(b) for a, b in zip(first, update_tables(runs["lora"], store=store), strict=True))


def test_runs_that_cannot_be_shown_or_compared_are_refused_in_words(runs, store, tiny_model, tmp_path):
    with pytest.raises(vxlab.VxlabError, match="run is None, not a trained run"):
        update_tables(None, store=store)
    head = moved_run(tmp_path / "head", tiny_model, vxlab.Head())
    with pytest.raises(
        vxlab.VxlabError, match=r"\(head only\) trained no updates of weights that can be shown; give a"
    ):
        update_tables(head, store=store)
    with pytest.raises(vxlab.VxlabError, match="diverged, so its update says nothing"):
        pair_table(runs["lora"], dataclasses.replace(runs["vera"], status="diverged"), store=store)
    mlp = moved_run(tmp_path / "mlp", tiny_model, vxlab.LoRA(rank=3), targets="mlp")
    with pytest.raises(vxlab.VxlabError, match=r"trained other layers: `bert\.\S+` is one of 8 that only one"):
        pair_table(runs["lora"], mlp, store=store)
    other = dataclasses.replace(runs["vera"], key="x", spec=runs["vera"].spec | {"model": "mpnet"})
    with pytest.raises(vxlab.VxlabError, match="runs differ in their base models"):
        pair_table(runs["lora"], other, store=store)


def test_a_dense_update_is_a_pair_of_factors_too(runs):
    update = next(iter(trained_layers(runs["full"]).values())).update
    expected = next(iter(full_updates(runs["full"]).values())).to_matrix()
    torch.testing.assert_close(update.left @ update.right, expected)
