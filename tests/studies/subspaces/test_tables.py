"""Where updates lie in the spectra of weights: the tables hold what full projections and SciPy's angles say."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from vxlab.analysis.bands import band
from vxlab.analysis.subspaces import chance_energy_inside, energy_inside
from vxlab.analysis.update import FullUpdate, Update
from vxlab.studies.subspaces.tables import band_angles, band_energies, decompose_weights, spectra_table

QUERY, DOWN = "encoder.layer.0.attention.self.query", "encoder.layer.1.output.dense"


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def weights():
    return {QUERY: _normal(16, 16, seed=1), DOWN: _normal(16, 40, seed=2)}


@pytest.fixture(scope="module")
def triplets(weights):
    return decompose_weights(weights)


def test_decompositions_rebuild_their_matrices(weights, triplets):
    for layer, (U, S, Vh) in triplets.items():
        assert torch.allclose(U * S @ Vh, weights[layer], atol=1e-12)


def test_energies_are_those_of_the_full_projections(weights, triplets):
    updates = {"full": {layer: FullUpdate(_normal(*weight.shape, seed=3)) for layer, weight in weights.items()}}
    table = band_energies(triplets, updates, fractions=(0.25, 0.5))
    assert len(table) == 2 * 3 * 2
    for row in table.itertuples():
        own, update = band(triplets[row.layer], row.fraction, row.band), updates["full"][row.layer]
        assert row.output == pytest.approx(energy_inside(update, U=own.U), abs=1e-10)
        assert row.input == pytest.approx(energy_inside(update, Vh=own.Vh), abs=1e-10)
        assert row.both == pytest.approx(energy_inside(update, U=own.U, Vh=own.Vh), abs=1e-10)
        shape, rank = update.shape, len(own.S)
        assert row.chance_both == pytest.approx(chance_energy_inside(shape, rank, rank))
        assert (row.chance_output, row.chance_input) == (rank / shape[0], rank / shape[1])
        W = weights[row.layer]
        assert row.weight == pytest.approx(float(own.S.square().sum() / W.square().sum()), abs=1e-10)
    assert set(table["block"]) == {0, 1}
    assert set(table["role"]) == {"query", "down"}


def test_an_update_made_of_a_bands_directions_lies_in_it_and_in_no_other(triplets):
    U, _, Vh = band(triplets[QUERY], 0.25, "top")
    planted = {"planted": {QUERY: Update(U @ _normal(4, 4), Vh)}}
    table = band_energies(triplets, planted, fractions=(0.25,)).set_index("band")
    assert table.loc["top", "both"] == pytest.approx(1, abs=1e-12)
    assert table.loc["bottom", "both"] == pytest.approx(0, abs=1e-12)
    angles = band_angles(triplets, planted, directions=4, fractions=(0.25,))
    assert angles[angles["band"] == "top"]["degrees"].max() < 1e-5
    assert angles[angles["band"] == "bottom"]["degrees"].min() > 90 - 1e-5


def test_an_update_in_factors_is_the_one_it_makes(triplets):
    thin = Update(_normal(16, 3, seed=4), _normal(3, 40, seed=5))
    updates = {"thin": {DOWN: thin}, "whole": {DOWN: FullUpdate(thin.to_matrix())}}
    both = band_energies(triplets, updates)
    thin, whole = (both[both["update"] == name].drop(columns="update") for name in ("thin", "whole"))
    assert np.allclose(thin.select_dtypes("number"), whole.select_dtypes("number"), atol=1e-12)
    angles = band_angles(triplets, updates)
    thin, whole = (angles[angles["update"] == name]["degrees"] for name in ("thin", "whole"))
    assert len(thin) == 3 * 2 * 3  # no more directions than the update has
    assert np.allclose(thin, whole, atol=1e-6)


def test_angles_are_scipys_and_chance_is_of_the_same_sizes(weights, triplets):
    update = _normal(16, 40, seed=6)
    table = band_angles(triplets, {"full": {DOWN: FullUpdate(update)}}, directions=3, fractions=(0.5,))
    U, _, Vt = np.linalg.svd(update.numpy(), full_matrices=False)
    own = band(triplets[DOWN], 0.5, "middle")
    for side, A, B in (("output", U[:, :3], own.U.numpy()), ("input", Vt[:3].T, own.Vh.numpy().T)):
        rows = table[(table["side"] == side) & (table["band"] == "middle")]
        assert np.allclose(rows["degrees"], np.rad2deg(subspace_angles(A, B)[::-1]), atol=1e-8)
        assert rows["number"].tolist() == [1, 2, 3]
        assert ((rows["chance_low"] < rows["chance"]) & (rows["chance"] < rows["chance_high"])).all()
    input_chance, output_chance = (table[table["side"] == side]["chance"].min() for side in ("input", "output"))
    assert input_chance > output_chance  # 8 of 40 dimensions are further off than 8 of 16


def test_spectra_of_weights_updates_and_factors_agree(weights, triplets):
    thin = Update(_normal(16, 3, seed=4), _normal(3, 40, seed=5))
    updates = {"thin": {DOWN: thin}, "whole": {DOWN: FullUpdate(thin.to_matrix())}}
    same = {layer: FullUpdate(weight) for layer, weight in weights.items()}
    table = spectra_table({"W": triplets, "same": same, **updates})
    for one, other in (("W", "same"), ("thin", "whole")):
        a, b = (table[table["of"] == name].select_dtypes("number") for name in (one, other))
        assert np.allclose(a, b, atol=1e-12)
    thin = table[table["of"] == "thin"].sort_values("rank")
    assert thin["rank"].max() == 16
    assert np.allclose(thin[thin["rank"] >= 3]["energy"], 1)
    S = np.linalg.svd(weights[QUERY].numpy(), compute_uv=False)
    own = table[(table["of"] == "W") & (table["layer"] == QUERY)].set_index("rank")
    assert own.loc[4, "energy"] == pytest.approx(float((S[:4] ** 2).sum() / (S**2).sum()))
    assert own.loc[4, "stable_rank"] == pytest.approx(float((S**2).sum() / S[0] ** 2))


def test_a_zero_update_lies_nowhere(triplets):
    still = {"still": {QUERY: FullUpdate(torch.zeros(16, 16))}}
    table = band_energies(triplets, still)
    assert table[["output", "input", "both"]].isna().all(axis=None)
    assert band_angles(triplets, still).empty
    spectrum = spectra_table(still)
    assert spectrum["energy"].isna().all()
    assert set(spectrum["rank_90"]) == {0}
    assert all(math.isfinite(value) for value in spectrum["stable_rank"])


def test_blocks_in_stages_are_numbered_through_all_layers_that_are_looked_at():
    layers = [f"encoder.layers.{stage}.blocks.{block}.mlp.fc1" for stage, block in ((0, 0), (0, 1), (1, 0))]
    triplets = decompose_weights({layers[-1]: _normal(6, 5)})
    updates = {"u": {layers[-1]: FullUpdate(_normal(6, 5, seed=1))}}
    some, all_of_them = {"among": ()}, {"among": layers}
    for given, block in ((some, 0), (all_of_them, 2)):
        for table in (
            spectra_table({"W": triplets}, **given),
            band_energies(triplets, updates, **given),
            band_angles(triplets, updates, **given),
        ):
            assert set(table["block"]) == {block}
