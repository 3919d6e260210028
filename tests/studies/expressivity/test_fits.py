"""Fits of random and of real matrices as tables, and what they say of the published figure."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import toy_records as toy

from vxlab import Store, VxlabError
from vxlab.analysis.fitting import fit_lora
from vxlab.analysis.update import FullUpdate
from vxlab.experiments.runs.trained import finished_run
from vxlab.studies.claims import CONSISTENT, CONTRADICTS
from vxlab.studies.expressivity.claims import equal_parameters, error_summary, figure_6_claims, real_findings
from vxlab.studies.expressivity.fits import (
    layer_vera_ranks,
    random_errors,
    real_errors,
    run_errors,
    vera_ranks,
)

SETTINGS = ["family", "setting"]
FINISHED = SimpleNamespace(status="finished")


@pytest.fixture(scope="module")
def errors():
    return random_errors([(10, 10), (4, 8)], matrices=6, vera_rank=12)


def test_every_family_has_a_row_for_each_matrix_and_size(errors):
    assert set(errors["family"]) == {"LoRA", "VeRA", "LoRA-XS", "LiDB, rank 1", "full"}
    assert (errors.groupby(["shape", *SETTINGS])["matrix"].nunique() == 6).all()
    assert errors["error"].between(0, 3).all()


def test_parameters_are_those_of_the_families(errors):
    sizes = errors[errors["shape"] == "4×8"].drop_duplicates(SETTINGS).set_index(SETTINGS)["parameters"]
    assert sizes["LoRA", "r=3"] == 3 * (4 + 8)
    assert sizes["VeRA", "r=8"] == 4 + 8
    assert sizes["LoRA-XS", "r=3"] == 9
    assert sizes["full", "every entry"] == 32
    assert sizes["LiDB, rank 1", "a=3, b=5"] == 8


def test_dimensions_never_exceed_parameters_nor_entries(errors):
    assert (errors["freedom"] <= errors["parameters"]).all()
    assert (errors["freedom"] <= errors["entries"]).all()


@pytest.mark.parametrize("family", ["LoRA", "LoRA-XS", "LiDB, rank 1"])
def test_larger_sizes_of_nested_families_never_fit_worse(errors, family):
    own = errors[errors["family"] == family].sort_values("parameters")
    for _, rows in own.groupby(["shape", "matrix"]):
        assert (rows["error"].diff().dropna() <= 1e-12).all()


def test_everything_is_fitted_by_all_of_lora_and_lora_xs(errors):
    whole = errors[(errors["setting"] == "r=10") & errors["family"].isin(["LoRA", "LoRA-XS"])]
    assert (whole["error"] < 1e-20).all()


def test_a_fixed_linear_family_leaves_its_share_of_a_random_target():
    table = random_errors([(8, 8)], matrices=400, vera_rank=1)
    left = table[(table["family"] == "LoRA-XS") & (table["rank"] == 4)]["error"]
    assert abs(left.mean() - (1 - 16 / 64)) < 4 * left.sem()


def test_the_same_seed_gives_the_same_numbers(errors):
    again = random_errors([(4, 8)], matrices=6, vera_rank=12)
    pd.testing.assert_frame_equal(errors[errors["shape"] == "4×8"].reset_index(drop=True), again)


def test_vera_has_a_rank_for_each_of_loras_counts_and_some_below():
    for shape in [(10, 10), (32, 32), (16, 64), (64, 16)]:
        ranks = vera_ranks(shape)
        assert shape[1] in ranks
        assert sum(shape) + shape[1] in ranks or sum(shape) + shape[1] > 96
        assert min(ranks) == 1


def test_summaries_hold_the_mean_and_its_interval():
    rows = [
        {"shape": "2×2", "entries": 4, "family": "LoRA", "setting": "r=1", "rank": 1, "parameters": 4, "freedom": 3}
    ]
    table = pd.DataFrame(rows * 4).assign(error=[1.0, 2.0, 3.0, 4.0])
    (row,) = error_summary(table).to_dict("records")
    half = 3.182446 * np.std([1, 2, 3, 4], ddof=1) / 2  # Student's t of 3 degrees of freedom
    assert (row["mean"], row["n"]) == (2.5, 4)
    assert (row["low"], row["high"]) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-6)
    assert np.isnan(error_summary(table[:1])["low"].iloc[0])


def _planted(ratio, noise=0.01, n=200):
    """Return fits of LoRA r=1 and VeRA r=10, the latter's errors on average ``ratio`` times as large."""
    rng = np.random.default_rng(0)
    lora = rng.uniform(0.3, 0.9, n)
    common = {"shape": "10×10", "entries": 100, "matrix": range(n), "parameters": 20, "freedom": 19}
    vera = lora * ratio * (1 + noise * rng.standard_normal(n))
    both = [
        pd.DataFrame({**common, "family": family, "setting": setting, "rank": rank, "error": error})
        for family, setting, rank, error in (("LoRA", "r=1", 1, lora), ("VeRA", "r=10", 10, vera))
    ]
    return pd.concat(both, ignore_index=True)


def test_a_planted_ratio_lies_in_its_interval_which_pairing_makes_narrow():
    (row,) = equal_parameters(_planted(0.8)).to_dict("records")
    assert row["low"] < 0.8 < row["high"]
    assert row["high"] - row["low"] < 0.01


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, CONSISTENT), (0.8, CONTRADICTS), (1.2, CONTRADICTS)])
def test_equality_is_judged_by_the_ratio(ratio, verdict):
    claim = figure_6_claims(_planted(ratio))[0]
    assert claim.verdict == verdict
    assert "20 parameters" in claim.claim


def test_vera_below_loras_least_size_is_judged(errors):
    last = figure_6_claims(errors)[-1]
    assert "fewer parameters than the 20 of LoRA r=1" in last.claim
    assert "sizes of 11 to 16 parameters" in last.here


def _layers():
    generator = torch.Generator().manual_seed(0)
    names = [f"encoder.layer.{i}.attention.self.{role}" for i in range(2) for role in ("query", "value")]
    weights = {name: torch.randn(12, 12, generator=generator) for name in names}
    return weights, {name: torch.randn(12, 12, generator=generator) for name in names}


def test_real_errors_are_shares_of_each_layers_energy():
    weights, updates = _layers()
    table = real_errors(updates, weights, vera_ranks=[12])
    row = table[(table["layer"] == "encoder.layer.1.attention.self.value") & (table["family"] == "LoRA")].iloc[0]
    target = updates[row["layer"]]
    assert (row["block"], row["role"], row["entries"]) == (1, "value", 144)
    assert row["error"] == pytest.approx(float(fit_lora(target[None], 1).error / target.double().square().sum()))


def test_lora_xs_fits_its_own_weight_as_lora_does():
    weights, _ = _layers()
    table = real_errors(weights, weights, vera_ranks=[2]).set_index(["layer", "family", "rank"])["error"]
    for layer in weights:
        assert table[layer, "LoRA-XS", 2] == pytest.approx(table[layer, "LoRA", 2])


def test_a_zero_update_has_no_relative_error():
    weights, updates = _layers()
    table = real_errors({name: torch.zeros_like(each) for name, each in updates.items()}, weights, vera_ranks=[2])
    assert table["error"].isna().all()


def test_findings_are_computed_for_each_target():
    weights, updates = _layers()
    table = pd.concat(
        [real_errors(each, weights, vera_ranks=[12]).assign(target=t) for t, each in (("ΔW", updates), ("W", weights))]
    )
    found = real_findings(table)
    assert any(sentence.startswith("**ΔW**, 24 parameters a layer: LoRA r=1 leaves") for sentence in found)
    assert any(
        "**W**, LoRA-XS between W's top singular vectors, with at most 1 % of the entries as parameters (r=1)"
        in sentence
        for sentence in found
    )


def test_bad_input_is_named(errors):
    weights, _ = _layers()
    with pytest.raises(VxlabError, match="matrices=0"):
        random_errors(matrices=0)
    with pytest.raises(VxlabError, match="targets is empty"):
        real_errors({}, weights)
    with pytest.raises(VxlabError, match="the weight of 'elsewhere' is absent"):
        real_errors({"elsewhere": torch.ones(2, 2)}, weights)
    with pytest.raises(VxlabError, match="no fits of shape '3×3'; there are 10×10, 4×8"):
        figure_6_claims(errors, "3×3")


def test_blocks_without_such_layers_are_refused(monkeypatch):
    weights, _ = _layers()
    monkeypatch.setattr("vxlab.studies.expressivity.fits.base_weights", lambda record, layers: weights)
    with pytest.raises(VxlabError, match=r"blocks=\[7\] holds none of layers='query-value', whose blocks are \[0, 1\]"):
        run_errors(FINISHED, "query-value", [7])


def test_a_runs_updates_and_weights_are_both_fitted(monkeypatch):
    weights, updates = _layers()
    monkeypatch.setattr("vxlab.studies.expressivity.fits.base_weights", lambda record, layers: weights)
    monkeypatch.setattr(
        "vxlab.studies.expressivity.fits.full_updates",
        lambda record, layers: {k: FullUpdate(each) for k, each in updates.items()},
    )
    table = run_errors(FINISHED, "query-value", [1], vera_ranks=[2])
    assert set(table["block"]) == {1}
    assert list(table["target"].unique()) == ["ΔW", "W"]


def test_a_run_that_did_not_finish_is_refused(tmp_path):
    store = Store(tmp_path)
    record = toy.stored_record(store.folder, toy.key_of(1), status="diverged")
    row = pd.Series({"key": record.key, "label": "Full", "status": "failed", "error": "out of memory."})
    with pytest.raises(VxlabError, match=rf"run {record.key[:12]}\) diverged, so its update says nothing; lower its"):
        run_errors(record)
    with pytest.raises(VxlabError, match=r"Full \(failed\) has no result: out of memory. Mend the cause and run again"):
        finished_run(row, store)
    with pytest.raises(VxlabError, match="its record is not in the store"):
        finished_run(pd.Series({**row, "error": None}), store)


@pytest.mark.parametrize("width", [6, 30, 768])
def test_a_models_layers_have_a_pair_of_lora_and_vera_of_equal_parameters_at_any_width(width):
    assert width in layer_vera_ranks([(width, width), (width, 4 * width)])
    if width == 6:
        layers = {"encoder.layer.0.attention.self.query": torch.randn(6, 6, generator=torch.Generator().manual_seed(0))}
        table = real_errors(layers, layers, starts=1, rounds=1).assign(all="all")
        assert equal_parameters(table, "all", "layer")["parameters"].tolist() == [12]


def test_roles_without_a_pair_of_equal_parameters_are_named():
    weights, updates = _layers()
    found = real_findings(real_errors(updates, weights, vera_ranks=[2], starts=1, rounds=1).assign(target="ΔW"))
    assert "**ΔW**, query, value: no VeRA here trains as many parameters as a LoRA" in found[0]


def test_layers_that_did_not_move_are_counted_and_left_out():
    weights, updates = _layers()
    still = next(iter(updates))
    table = real_errors(updates | {still: torch.zeros(12, 12)}, weights, vera_ranks=[12]).assign(target="ΔW")
    moved, found = table[table["layer"] != still], real_findings(table)
    assert found[0] == "**ΔW** is 0 in 1 layer, left out here: 0 has no relative error."
    assert found[1:] == real_findings(moved)
    assert "nan" not in " ".join(found)
    pd.testing.assert_frame_equal(
        equal_parameters(table, "target", "layer"), equal_parameters(moved, "target", "layer")
    )
    assert "nan" not in " ".join(real_findings(table[table["layer"] == still]))


def test_one_matrix_is_told_without_an_interval(errors):
    one = errors[errors["matrix"] == 0]
    told = " ".join(claim.here for claim in figure_6_claims(one))
    weights, updates = _layers()
    layer = next(iter(updates))
    table = real_errors({layer: updates[layer]}, weights, vera_ranks=[12]).assign(target="ΔW")
    assert "(1 matrix)" in told
    assert "nan" not in told + " ".join(real_findings(table))


def test_the_seed_reaches_veras_search(monkeypatch):
    seeds = []

    def noted(targets, A, B, *, seed, **search):
        seeds.append(seed)
        return SimpleNamespace(error=torch.zeros(len(targets)).double())

    monkeypatch.setattr("vxlab.studies.expressivity.fits.fit_vera", noted)
    for seed in (0, 1):
        random_errors([(4, 4)], matrices=1, vera_rank=4, seed=seed)
    assert len(seeds) == len(set(seeds)) > 2


def test_blocks_in_stages_are_numbered_through_weights_that_are_not_fitted():
    layers = [f"encoder.stages.{stage}.layers.{block}.pwconv1" for stage, block in ((0, 0), (0, 1), (1, 0))]
    weights = dict.fromkeys(layers, torch.eye(4, dtype=torch.float64))
    table = real_errors({layers[-1]: weights[layers[-1]]}, weights, starts=1, rounds=1)
    assert set(table["block"]) == {2}
