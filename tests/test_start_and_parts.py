"""Variants of VeRA and LoRA-XS: each changes one part, and is compared with the unchanged method."""

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

import vxlab
from vxlab.experiments.claims import ABSENT, CONSISTENT, CONTRADICTS, NOISY
from vxlab.experiments.start_and_parts import (
    candidates,
    mean_top_sigma,
    parts_claims,
    parts_sweep,
    parts_table,
    published_differences,
    variants,
)
from vxlab.views.parts_figures import parts_against_unchanged

OF = variants(vera_rank=4, lora_xs_rank=4, mean_sigma=5.0)
FAIR = vxlab.FairSweep(candidates=candidates(OF, {"vera": 2e-2, "lora_xs": 4e-3}), report_seeds=2)
NAMES = list(FAIR.names)


def test_every_variant_changes_one_part_of_its_unchanged_method():
    for own in (OF[:8], OF[8:]):
        plain = own[0].method.settings()
        for each in own[1:]:
            changed = {name for name, value in each.method.settings().items() if value != plain[name]}
            assert len(changed) == 1, each


def test_every_published_ablation_has_its_variant():
    paper = vxlab.experiments.published.published_table("vera_ablations")
    assert {each.published for each in OF if each.published} | {"shared matrices"} == set(paper["variant"])


def test_the_unchanged_methods_have_plain_names_and_the_others_say_what_changed():
    assert (NAMES[0], NAMES[8]) == ("VeRA r=4", "LoRA-XS r=4")
    assert NAMES[4] == "VeRA r=4, matrices=uniform"
    assert NAMES[-1] == "LoRA-XS r=4, sigma=none"


def test_rates_follow_how_far_a_step_moves_the_weight():
    centres = {each.name: candidate.centre for each, candidate in zip(OF, FAIR.names.values(), strict=True)}
    assert centres["1.0"] == pytest.approx(2e-3)
    assert centres["absent"] == pytest.approx(2e-2)
    assert mean_top_sigma({"a": torch.diag(torch.tensor([4.0, 2.0, 1.0])), "b": torch.eye(3)}, 2) == 2.0


def _result(differences: dict[str, float], half: float = 0.02) -> Any:
    """Return a comparison in which variants differ from the unchanged method as told, each way round in the pairs."""
    summary = pd.DataFrame(
        {
            "candidate": NAMES, "method": ["VeRA"] * 8 + ["LoRA-XS"] * 6, "n": 2, "diverged": 0, "median": 0.7,
            "q1": 0.69, "q3": 0.71, "learning_rate": 1e-2, "edge": "",
        }
    )  # fmt: skip
    rows = []
    for i, name in enumerate(NAMES):
        base = NAMES[0 if i < 8 else 8]
        if name != base:
            value = differences.get(OF[i].name, 0.0)
            a, b, sign = (name, base, 1) if i % 2 else (base, name, -1)
            low, high = sorted((sign * (value - half), sign * (value + half)))
            p = 0.001 if abs(value) > half else 0.5
            rows.append({"a": a, "b": b, "difference": sign * value, "low": low, "high": high, "p": p, "seen": False})
    return SimpleNamespace(fair=FAIR, summary=summary, pairs=pd.DataFrame(rows))


def test_a_difference_is_of_the_variant_less_the_unchanged_whichever_way_the_pair_stands():
    told = {"d alone": -0.1, "b alone": 0.05, "1e-7": -0.03, "of a random matrix": 0.2, "split": -0.2}
    table = parts_table(_result(told), OF).set_index("variant")
    for name, value in told.items():
        row = table.loc[name]
        assert row["difference"] == pytest.approx(value)
        assert (row["low"], row["high"]) == pytest.approx((value - 0.02, value + 0.02))
    assert table["difference"].isna().sum() == 2
    assert not table.loc["as published", "seen"].any()


def test_what_is_told_apart_is_corrected_for_the_changed_parts_alone():
    table = parts_table(_result({"1.0": -0.3}), OF).set_index("variant")
    assert table.loc["1.0", "p_holm"] == pytest.approx(0.001 * 12)
    assert list(table.index[table["seen"]]) == ["1.0"]


def test_published_differences_are_those_of_the_paper():
    found = published_differences(OF).set_index(["variant", "task"])
    assert found.loc[("d alone", "rte"), "difference"] == pytest.approx((67.0 - 85.8) / 100)
    assert found.loc[("d alone", "rte"), "spread"] == pytest.approx(math.hypot(13.9, 0.7) / 100)
    assert found.loc[("own for each layer", "cola"), "difference"] == pytest.approx((68.3 - 67.7) / 100)
    assert len(found) == 6 * 2 + 4


def test_claims_are_judged_by_the_measured_intervals():
    told = {"b alone": -0.2, "uniform in [0, 0.1]": 0.1, "1.0": -0.01, "of a random matrix": 0.05}
    claims = parts_claims(parts_table(_result(told), OF), OF, "accuracy")
    verdicts = {claim.claim.split(": ")[1].split(" is ")[0]: claim.verdict for claim in claims[:-1]}
    assert verdicts["b alone"] == CONSISTENT
    assert verdicts["uniform in [0, 0.1]"] == CONTRADICTS
    assert verdicts["1.0"] == NOISY
    assert verdicts["Kaiming normal"] == CONSISTENT  # the paper's loss of 3.2 points on RTE is within its spread
    assert verdicts["own for each layer"] == CONSISTENT
    assert claims[-1].verdict == CONSISTENT
    assert claims[2].here == "+0.0 points (95 % -2.0 to +2.0)"


def test_a_variant_that_never_finished_is_not_measured():
    result = _result({})
    result.pairs.loc[:, ["difference", "low", "high", "p"]] = math.nan
    table = parts_table(result, OF)
    assert {claim.verdict for claim in parts_claims(table, OF, "accuracy")} == {ABSENT}


def test_the_figure_has_every_changed_part_and_the_papers_points():
    table = parts_table(_result({"1.0": -0.3}), OF)
    figure = parts_against_unchanged(table, published_differences(OF), metric="accuracy")
    seen, not_seen, *papers = figure.data
    assert list(seen.y) == ["VeRA, start of d: 1.0"]
    assert seen.x[0] == pytest.approx(-30)
    assert len(seen.y) + len(not_seen.y) == 12
    assert sum(len(trace.x) for trace in papers) == 16
    assert {y for trace in papers for y in trace.y} <= set(figure.layout.yaxis.categoryarray)


def test_a_sweep_of_parts_takes_its_rates_from_the_models_weights(tiny_model: str, toy_task: str) -> None:
    fair, of = parts_sweep("smoke", vera_rank=4, lora_xs_rank=4, model=tiny_model, task=toy_task, targets="query")
    assert [each.method for each in of] == [each.method for each in fair.names.values()]
    model = vxlab.load_model(tiny_model, 2)
    weights = {name: layer.weight for name, layer in vxlab.resolve_targets(model, "query").items()}
    top = torch.stack([torch.linalg.svdvals(weight.detach().double())[:4] for weight in weights.values()])
    absent = fair.names["LoRA-XS r=4, sigma=none"].centre / fair.names["LoRA-XS r=4"].centre
    assert absent == pytest.approx(float(top.mean()), rel=1e-2)
