"""Variants of VeRA and LoRA-XS: each changes one part, and is compared with the unchanged method."""

import math
import re
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from notebook_cells import notebook_variants
from scipy import stats

import vxlab
from vxlab.experiments.runs.trained import layer_weights
from vxlab.experiments.sweeps.step_reach import first_step, reach
from vxlab.studies.claims import ABSENT, CONSISTENT, CONTRADICTS, NOISY
from vxlab.studies.published import published_table
from vxlab.studies.start_and_parts.claims import (
    ABLATIONS,
    parts_claims,
    parts_table,
    published_differences,
    told_apart_sentence,
)
from vxlab.studies.start_and_parts.variants import candidates, parts_sweep
from vxlab.views.figures.start_and_parts import parts_against_unchanged

OF = notebook_variants(vera_rank=4, lora_xs_rank=4)
WEIGHTS = {"layer": torch.diag(torch.arange(16.0, 0, -1))}
FAIR = vxlab.FairSweep(candidates=candidates(OF, {"vera": 2e-2, "lora_xs": 4e-3}, WEIGHTS), report_seeds=2)
NAMES, FREEDOM = list(FAIR.names), 30.0


def test_every_variant_changes_one_part_of_its_unchanged_method():
    for own in (OF[:8], OF[8:]):
        plain = own[0].method.settings()
        for each in own[1:]:
            changed = {name for name, value in each.method.settings().items() if value != plain[name]}
            assert len(changed) == 1, each


def test_every_published_ablation_has_its_variant():
    paper = published_table("vera_ablations")
    assert {printed for _, printed in ABLATIONS.values()} | {"default", "shared matrices"} == set(paper["variant"])
    assert {(part, name) for name, (part, _) in ABLATIONS.items()} <= {(each.part, each.name) for each in OF}


def test_the_unchanged_methods_have_plain_names_and_the_others_say_what_changed():
    assert (NAMES[0], NAMES[8]) == ("VeRA r=4", "LoRA-XS r=4")
    assert NAMES[4] == "VeRA r=4, matrices=uniform"
    assert NAMES[-1] == "LoRA-XS r=4, sigma=none"


def test_rates_follow_how_far_a_step_moves_the_weight():
    centres = {each.name: candidate.centre for each, candidate in zip(OF, FAIR.names.values(), strict=True)}
    assert centres["1.0"] == centres["d alone"] == pytest.approx(2e-3)  # d is 0.1 in the unchanged method
    assert centres["absent"] == pytest.approx(4e-3 * math.sqrt((16**2 + 15**2 + 14**2 + 13**2) / 4), rel=1e-2)
    assert centres["b alone"] == centres["1e-7"] == centres["own for each layer"] == pytest.approx(2e-2)
    assert centres["output"] == centres["of the first gradient"] == pytest.approx(4e-3)


@pytest.mark.parametrize("rank", [64, 256])
@pytest.mark.parametrize("settings", [{}, {"vectors": "d"}, {"matrices": "uniform"}, {"d_initial": 1.0}])
def test_a_first_step_moves_the_weight_as_far_as_is_reckoned(rank, settings):
    method = vxlab.VeRA(rank, **settings)
    model = torch.nn.Sequential(torch.nn.Linear(48, 32))
    layer = vxlab.adapted_layers(vxlab.attach(model, method, "all-linear"))["0"]
    moved = layer.trained_tensors()["lambda_d" if settings.get("vectors") == "d" else "lambda_b"]
    moved.data += 1.0
    assert first_step(method, (32, 48)) == pytest.approx(float(layer.delta_weight().detach().norm()), rel=1e-5)


def _result(differences: dict[str, float], half: float = 0.02) -> Any:
    """Return a comparison in which variants differ from the unchanged method as told, each way round in the pairs."""
    summary = pd.DataFrame(
        {
            "candidate": NAMES, "method": ["VeRA"] * 8 + ["LoRA-XS"] * 6, "n": 2, "diverged": 0, "mean": 0.7,
            "scores": [(0.69, 0.71)] * 14, "learning_rate": 1e-2, "edge": "",
        }
    )  # fmt: skip
    rows = []
    for i, name in enumerate(NAMES):
        base = NAMES[0 if i < 8 else 8]
        if name != base:
            value = differences.get(OF[i].name, 0.0)
            a, b, sign = (name, base, 1) if i % 2 else (base, name, -1)
            error = half / stats.t.ppf(0.975, FREEDOM)
            low, high = sorted((sign * (value - half), sign * (value + half)))
            p = 2 * stats.t.sf(abs(value) / error, FREEDOM)
            row = {"a": a, "b": b, "difference": sign * value, "low": low, "high": high, "p": p, "seen": False}
            rows.append(row | {"error": error, "freedom": FREEDOM})
    return SimpleNamespace(fair=FAIR, summary=summary, pairs=pd.DataFrame(rows), metric="accuracy")


def test_a_difference_is_of_the_variant_less_the_unchanged_whichever_way_the_pair_stands():
    told = {"d alone": -0.1, "b alone": 0.05, "1e-7": -0.03, "of a random matrix": 0.2, "split": -0.2}
    table = parts_table(_result(told), OF).set_index("variant")
    for name, value in told.items():
        row = table.loc[name]
        assert row["difference"] == pytest.approx(value)
        assert (row["low"], row["high"]) == pytest.approx((value - 0.02, value + 0.02))
    assert table["difference"].isna().sum() == 2
    assert not table.loc["as published", "seen"].any()


def test_what_is_told_apart_is_corrected_for_the_changed_parts_and_the_claims_of_a_range():
    table = parts_table(_result({"1.0": -0.3}), OF).set_index("variant")
    assert table.loc["1.0", "p_holm"] == pytest.approx(table.loc["1.0", "p"] * (12 + 3))
    assert list(table.index[table["seen"]]) == ["1.0"]


@pytest.mark.parametrize("value", [-0.025, -0.03, -0.034, -0.04])
def test_a_change_is_told_apart_where_the_claim_that_it_is_worse_is_decided(value):
    table = parts_table(_result({"b alone": value, "1.0": -0.01}), OF)
    (row,) = table[table["variant"] == "b alone"].to_dict("records")
    assert row["p"] < 0.05
    assert (_verdicts(table)["b alone"] == CONSISTENT) == row["seen"] == (row["p_holm"] <= 0.05)


def test_what_is_told_apart_is_told_with_the_unchanged_rates_edge():
    table = parts_table(_result({"1.0": -0.3}), OF)
    said = told_apart_sentence(table, "accuracy")
    assert said == "Told apart from the unchanged method: VeRA, start of d: 1.0 −30.0 points (95 % −32.0 to −28.0)."
    table.loc[0, "edge"] = "low"
    assert told_apart_sentence(table, "accuracy").endswith("; the unchanged method's rate is on the edge of its range.")
    assert told_apart_sentence(table.assign(seen=False), "accuracy") == (
        "No change is told apart from its unchanged method."
    )


def test_published_differences_are_those_of_the_paper():
    found = published_differences().set_index(["variant", "task"])
    assert found.loc[("d alone", "rte"), "difference"] == pytest.approx((67.0 - 85.8) / 100)
    assert found.loc[("d alone", "rte"), "spread"] == pytest.approx(math.hypot(13.9, 0.7) / 100)
    assert found.loc[("d alone", "rte"), "told"] == "67.0 ± 13.9 against 85.8 ± 0.7"
    assert found.loc[("own for each layer", "cola"), "difference"] == pytest.approx((68.3 - 67.7) / 100)
    assert len(found) == 6 * 2 + 4


def _verdicts(table: pd.DataFrame) -> dict[str, str]:
    claims = parts_claims(table, "accuracy")
    names = [re.split(" is | differs | do ", claim.claim.split(": ")[1])[0] for claim in claims]
    return dict(zip(names, (claim.verdict for claim in claims), strict=True))


XS = "the singular vectors of a random matrix"


def test_claims_are_judged_by_the_measured_intervals():
    told = {"b alone": -0.2, "uniform in [0, 0.1]": 0.1, "1.0": -0.01, "of a random matrix": 0.05, "1e-7": -0.3}
    verdicts = _verdicts(parts_table(_result(told), OF))
    assert verdicts["b alone"] == CONSISTENT
    assert verdicts["uniform in [0, 0.1]"] == CONTRADICTS
    assert verdicts["1.0"] == NOISY
    assert verdicts["Kaiming normal"] == NOISY  # −8.4 to +2.0 points, by the paper's RTE; ±2 here
    assert verdicts["1e-7"] == CONTRADICTS
    assert verdicts["own for each layer"] == NOISY  # −1.7 to +1.7 points in the paper
    assert verdicts[XS] == CONSISTENT


def test_a_rate_on_an_edge_or_a_lost_run_makes_a_difference_too_noisy():
    table = parts_table(_result({"b alone": -0.2, "1.0": -0.2, "uniform in [0, 0.1]": 0.1}), OF)
    table.loc[table["variant"] == "b alone", "edge"] = "high"
    table.loc[table["variant"] == "1.0", "diverged"] = 1
    verdicts = _verdicts(table)
    assert (verdicts["b alone"], verdicts["1.0"], verdicts["uniform in [0, 0.1]"]) == (NOISY, NOISY, CONTRADICTS)
    here = {claim.claim: claim.here for claim in parts_claims(table, "accuracy")}
    lost = here["VeRA, start of d: 1.0 is worse than the published choice"]
    assert lost == "−20.0 points (95 % −22.0 to −18.0); 1 of its runs did not finish"
    table.loc[0, "edge"] = "high"  # the unchanged VeRA's: it could beat the variant that looks better
    assert _verdicts(table)["uniform in [0, 0.1]"] == NOISY


def test_what_is_not_told_apart_among_all_changes_is_not_decided():
    table = parts_table(_result({"b alone": -0.0225, "1.0": -0.2}), OF)  # p = 0.03
    assert (_verdicts(table)["b alone"], _verdicts(table)["1.0"]) == (NOISY, CONSISTENT)
    here = {claim.claim: claim.here for claim in parts_claims(table, "accuracy")}
    told = here["VeRA, trained vectors: b alone is worse than the published choice"]
    assert told.endswith("; alone is consistent with it, not after Holm's correction for 15 tests")


def test_a_small_difference_measured_well_is_within_the_published_spread_and_doubted_by_either_edge():
    table = parts_table(_result({"Kaiming normal": -0.01}, half=0.005), OF)
    assert _verdicts(table)["Kaiming normal"] == CONSISTENT
    table.loc[0, "edge"] = "high"
    assert _verdicts(table)["Kaiming normal"] == NOISY


def test_the_size_of_a_difference_is_not_judged_in_another_metric():
    table = parts_table(_result({"b alone": -0.2}), OF)
    claims = {claim.claim: claim.verdict for claim in parts_claims(table, "matthews")}
    assert claims["VeRA, random matrices: Kaiming normal differs from the published choice by less than seeds do"] == (
        ABSENT
    )
    assert claims["VeRA, trained vectors: b alone is worse than the published choice"] == CONSISTENT


def test_a_variant_that_was_not_run_or_never_finished_is_not_measured():
    result = _result({})
    table = parts_table(result, OF)
    kept = _verdicts(table[table["variant"] != "d alone"])
    assert kept["d alone"] == ABSENT
    result.pairs.loc[:, ["difference", "low", "high", "p", "error", "freedom"]] = math.nan
    table = parts_table(result, OF).assign(diverged=2)
    claims = parts_claims(table, "accuracy")
    assert {claim.verdict for claim in claims} == {ABSENT}
    told = "2 of its runs did not finish; 2 of the published choice's runs did not finish"
    assert {claim.here for claim in claims} == {told}


def test_the_figure_has_every_changed_part_and_the_papers_points():
    table = parts_table(_result({"1.0": -0.3}), OF)
    figure = parts_against_unchanged(table, published_differences(), metric="accuracy")
    seen, not_seen, *papers = figure.data
    assert list(seen.y) == ["VeRA, start of d: 1.0"]
    assert seen.customdata[0].endswith("<br>mean 0.700 (2 seeds: 0.690, 0.710)")
    assert seen.x[0] == pytest.approx(-30)
    assert len(seen.y) + len(not_seen.y) == 12
    assert sum(len(trace.x) for trace in papers) == 14  # accuracies alone have a place on an axis of points
    assert {y for trace in papers for y in trace.y} <= set(figure.layout.yaxis.categoryarray)


def test_a_sweep_of_parts_takes_its_rates_from_the_models_weights(tiny_model: str, toy_task: str) -> None:
    fair, of = parts_sweep(OF, "smoke", model=tiny_model, task=toy_task, targets="query")
    assert [each.method for each in of] == [each.method for each in fair.names.values()]
    assert len(of) == 2 + 6
    weights = layer_weights(vxlab.load_model(tiny_model, 2), "query")
    absent = next(fair.names[name].centre for name, each in zip(fair.names, of, strict=True) if each.name == "absent")
    reaches = [reach(vxlab.LoRAXS(4, sigma=sigma), weights) for sigma in ("input", "none")]
    assert absent / fair.names["LoRA-XS r=4"].centre == pytest.approx(reaches[0] / reaches[1], rel=1e-2)


def test_variants_are_chosen_by_name(tiny_model: str, toy_task: str) -> None:
    place = {"model": tiny_model, "task": toy_task}
    _, of = parts_sweep(OF, "smoke", names=["split", "1e-7"], **place)
    assert [each.name for each in of] == ["as published", "1e-7", "as published", "split"]
    assert len(parts_sweep(OF, "smoke", names=["all"], **place)[1]) == 14
    with pytest.raises(vxlab.VxlabError, match="there is no variant 'd only'; did you mean"):
        parts_sweep(OF, "smoke", names=["d only"], **place)
