"""A run's bands of every size: the angles are those of the full subspaces, and the tables are computed once."""

import dataclasses

import pytest
import torch
from toy_updates import moved_run

import vxlab
from vxlab.analysis.bands import band
from vxlab.analysis.subspaces import principal_angles, sampled_angles
from vxlab.analysis.update import Update
from vxlab.experiments.runs.trained import base_weights, full_updates, trained_updates
from vxlab.studies.subspaces import bands as module
from vxlab.studies.subspaces.bands import whereabouts
from vxlab.studies.subspaces.tables import band_angles, band_energies, decompose_weights

QUERY, DOWN = "encoder.layer.0.attention.self.query", "encoder.layer.1.output.dense"


def _normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.fixture(scope="module")
def weights():
    return decompose_weights({QUERY: _normal(16, 16), DOWN: _normal(40, 16)})


@pytest.mark.parametrize("rank", [3, 12])
def test_angles_are_those_of_the_full_subspaces(weights, rank):
    several = {QUERY: Update(_normal(16, rank), _normal(rank, 16)), DOWN: Update(_normal(40, rank), _normal(rank, 16))}
    found = band_angles(weights, {"some run": several}, fractions=(0.125, 0.5, 1.0), directions=5, seed=3)
    for (layer, side, name, fraction), rows in found.groupby(["layer", "side", "band", "fraction"]):
        U, S, Vh = several[layer].svd()
        own = band(weights[layer], fraction, name)
        few = min(5, int((S > 1e-9).sum()))
        A, B = (U[:, :few], own.U) if side == "output" else (Vh[:few].mT, own.Vh.mT)
        assert rows["degrees"].tolist() == pytest.approx(torch.rad2deg(principal_angles(A, B)).tolist(), abs=1e-5)
        drawn = torch.rad2deg(sampled_angles(A.shape[0], A.shape[1], B.shape[1], 60, 3))
        assert rows["chance"].tolist() == torch.quantile(drawn, 0.5, dim=0).tolist()


def test_what_a_band_holds_is_at_no_angle_to_it_and_a_zero_update_has_none(weights):
    U, _, Vh = band(weights[QUERY], 0.25, "bottom")
    planted = {"x": {QUERY: Update(U, Vh), DOWN: Update(torch.zeros(40, 2), torch.zeros(2, 16))}}
    found = band_angles(weights, planted, fractions=(0.25, 0.5))
    assert set(found["layer"]) == {QUERY}
    inside = found[found["band"] == "bottom"]
    assert inside["degrees"].max() < 1e-5
    assert found[(found["band"] == "top") & (found["fraction"] == 0.5)]["degrees"].min() == pytest.approx(90)


def test_all_triplets_of_a_dense_update_do_as_well_as_its_factors(weights):
    thin = Update(_normal(16, 2), _normal(2, 16))
    wide = band_angles(weights, {"x": {QUERY: decompose_weights({"": thin.to_matrix()})[""]}}, fractions=(0.25,))
    narrow = band_angles(weights, {"x": {QUERY: thin.svd()}}, fractions=(0.25,))
    assert wide["degrees"].tolist() == pytest.approx(narrow["degrees"].tolist(), abs=1e-4)
    assert wide["number"].max() == 2


@pytest.fixture(scope="module")
def lora(tiny_model, tmp_path_factory):
    return moved_run(tmp_path_factory.mktemp("runs") / "lora", tiny_model, vxlab.LoRA(rank=3))


@pytest.fixture(scope="module")
def full(tiny_model, tmp_path_factory):
    return moved_run(tmp_path_factory.mktemp("runs") / "full", tiny_model, vxlab.Full(), far=0.01)


def test_a_runs_tables_are_of_its_own_weights_and_update(lora, full, tmp_path):
    found = whereabouts({"LoRA r=3": lora}, fractions=(0.25, 0.5), store=tmp_path)
    weights = decompose_weights(base_weights(lora, "query-value"))
    expected = band_energies(weights, {"LoRA r=3": trained_updates(lora)}, fractions=(0.25, 0.5))
    keys = ["layer", "band", "fraction"]
    both = found.energies.merge(expected, on=keys)
    assert len(both) == len(expected) == len(found.energies)
    assert both["both_x"].tolist() == pytest.approx(both["both_y"].tolist())
    assert set(found.spectra["of"]) == {"W", "LoRA r=3"}
    assert set(found.angles["fraction"]) == {0.25, 0.5}
    whole = whereabouts({"full": full}, fractions=(0.5,), store=tmp_path)
    assert set(whole.energies["layer"]) == set(full_updates(full))
    mlp = whereabouts({"full": full}, targets="mlp", fractions=(0.5,), store=tmp_path)
    assert set(mlp.energies["role"]) == {"up", "down"}


def test_tables_are_read_again_without_a_model(lora, tmp_path, monkeypatch):
    first = whereabouts({"LoRA r=3": lora}, fractions=(0.5,), store=tmp_path)
    monkeypatch.setattr(module, "base_weights", None)
    again = whereabouts({"LoRA r=3": lora}, fractions=(0.5,), store=tmp_path)
    assert all(a.equals(b) for a, b in zip(first, again, strict=True))


def test_what_is_no_trained_run_is_refused_in_words(lora, tiny_model, tmp_path):
    with pytest.raises(vxlab.VxlabError, match=r"run is None, not a trained run; give what vxlab.run\(spec\) returned"):
        whereabouts({"x": None}, store=tmp_path)
    with pytest.raises(vxlab.VxlabError, match="run is of type str, not a trained run"):
        whereabouts({"x": "ab12"}, store=tmp_path)
    diverged = dataclasses.replace(lora, status="diverged")
    with pytest.raises(vxlab.VxlabError, match=r"LoRA, seed 0 \(run .+\) diverged, so its update says nothing; lower"):
        whereabouts({"x": diverged}, store=tmp_path)
    head = moved_run(tmp_path / "head", tiny_model, vxlab.Head())
    with pytest.raises(vxlab.VxlabError, match=r"\(head\) trained no adapter on layers"):
        whereabouts({"x": head}, store=tmp_path)
    with pytest.raises(vxlab.VxlabError, match=r"targets='mlp' names no layer that run .* trained query, value$"):
        whereabouts({"LoRA r=3": lora}, targets="mlp", store=tmp_path)
    with pytest.raises(vxlab.VxlabError, match="fractions is empty"):
        whereabouts({"LoRA r=3": lora}, fractions=(), store=tmp_path)
    with pytest.raises(vxlab.VxlabError, match="fraction=2 is no share"):
        whereabouts({"LoRA r=3": lora}, fractions=(2,), store=tmp_path)
