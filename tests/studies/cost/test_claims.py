"""The papers' claims: each judged by the numbers, and left unjudged by noise or absence."""

import pytest
import toy_costs as toy

from vxlab.studies.claims import ABSENT, CONSISTENT, CONTRADICTS, NOISY
from vxlab.studies.cost.claims import beside_papers

VERA, XS, MEMORY, SVD = "VeRA r=64: step", "LoRA-XS r=64: step", "VeRA r=64: less", "LoRA-XS: SVD"


def _claim(table, start):
    (row,) = [row for row in beside_papers(table).to_dict("records") if row["claim"].startswith(start)]
    return row


def _with(spread=0.001, **ratios):
    rows = [(m, r, ratios.get(f"{m}{r}".replace("-", ""), ratio), *rest) for m, r, ratio, *rest in toy.ROWS]
    return toy.costs(rows, spread)


@pytest.mark.parametrize(
    ("vera", "spread", "verdict"),
    [(1.10, 0.001, CONSISTENT), (1.21, 0.001, CONSISTENT), (1.30, 0.001, CONTRADICTS), (1.22, 0.05, NOISY)],
)
def test_time_claims_are_judged_by_the_median_ratio_over_rounds(vera, spread, verdict):
    row = _claim(_with(spread, VeRA64=vera), VERA)
    assert row["claim"] == "VeRA r=64: step at most 1.8 % longer than LoRA's"
    assert row["published"] == "1.018 (LLaMA-7B)"
    assert row["verdict"] == verdict
    assert row["here"].startswith(f"{vera / 1.20:.3f} (")
    assert "arXiv 2310.11454" in row["source"]


def test_with_too_few_rounds_a_claim_on_time_stays_open():
    table = _with(VeRA64=1.10)
    table["seconds"] = [seconds[:5] for seconds in table["seconds"]]
    row = _claim(table, VERA)
    assert row["verdict"] == NOISY
    assert row["here"].endswith(" (5 rounds, too few for an interval)")


def test_every_published_rank_of_lora_xs_is_a_claim():
    claims = beside_papers(_with(LoRAXS64=1.205))
    xs = claims[claims["claim"].str.startswith("LoRA-XS r=")]
    assert list(xs["published"]) == ["1.010 (RoBERTa-large)", "1.005 (RoBERTa-large)", "1.001 (RoBERTa-large)"]
    assert list(xs["verdict"]) == [ABSENT, ABSENT, CONSISTENT]
    assert list(xs["here"])[:2] == ["–", "–"]


def test_the_published_tables_keep_their_own_claims():
    """What is called a claim must hold of the papers' own figures."""
    for row in beside_papers(toy.costs()).to_dict("records"):
        if "at most" in row["claim"]:
            most = float(row["claim"].split("at most ")[1].split(" %")[0])
            assert 100 * (float(row["published"].split()[0]) - 1) <= most + 1e-9


def test_memory_is_compared_at_the_peak():
    assert _claim(toy.costs(), MEMORY)["verdict"] == CONSISTENT
    assert _claim(toy.costs(), MEMORY)["here"] == f"{320 / 420:.3f}, counted"
    table = toy.costs()
    table.loc[table["label"] == "VeRA r=64", "peak"] = 500 * toy.MIB
    assert _claim(table, MEMORY)["verdict"] == CONTRADICTS


def test_the_svd_is_compared_with_a_run():
    row = _claim(toy.costs(), SVD)  # 0.6 s beside 1,150 steps of 1.05 s; only r=4 is at most 25
    assert (row["here"], row["verdict"]) == ("0.05 %, one start of each rank", CONSISTENT)
    assert row["published"] == "0.14 to 0.89 % (RoBERTa-large)"
    assert _claim(toy.costs().assign(attach_seconds=30.0), SVD)["verdict"] == CONTRADICTS
    near = _claim(toy.costs().assign(attach_seconds=8.0), SVD)  # 0.66 %: of one measurement nobody knows the noise
    assert near["verdict"] == NOISY
    assert near["here"].endswith("; within 2 times of the claim")


def test_what_failed_was_not_measured():
    errors = {"LoRA r=64": "out of memory", "LoRA-XS r=4": "out of memory"}
    claims = beside_papers(toy.costs(errors=errors))
    assert set(claims["verdict"]) == {ABSENT}
    assert set(claims["here"]) == {"–"}


def test_every_claim_names_its_source():
    assert beside_papers(toy.costs())["source"].str.contains(r"arXiv \d{4}\.\d{5}").all()
