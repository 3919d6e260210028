"""Means over seeds, their intervals, and the trend with depth."""

import math
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest

import vxlab
from vxlab.studies.weight_similarity.statistics import by_kind, by_layer, difference, mean_of, over_seeds, share, trend

SEEDS, BLOCKS = range(3), range(6)


def table(kinds, seeds=SEEDS, blocks=BLOCKS, noise=0.0):
    """Return a similarity table: ``kinds`` has each kind's mean by block, and pairs that share a run share its luck."""
    draw = np.random.default_rng(0)
    luck = {("first", seed): draw.normal() for seed in seeds} | {("second", seed): draw.normal() for seed in seeds}
    rows = []
    for kind, level in kinds.items():
        same = kind.endswith("same seed")
        for (a, b), block in product(product(seeds, seeds), blocks):
            if (a == b) == same and (same or not kind.startswith("LoRA – LoRA") or a < b):
                value = level(block) + noise * (luck["first", a] + luck["second", b])
                rows.append(
                    {"kind": kind, "first": f"a{a}", "second": f"b{b}", "first_seed": a, "second_seed": b,
                     "layer": f"layer.{block}.query", "block": block, "role": "query", "cosine": value,
                     "cosine_chance": 0.01, "cka": value, "columns": value, "columns_chance": 0.2}
                )  # fmt: skip
    return pd.DataFrame(rows)


SAME, OTHER, CEILING = "VeRA – LoRA, same seed", "VeRA – LoRA, other seed", "LoRA – LoRA, other seed"


def test_the_interval_of_independent_pairs_is_students():
    rows = table({SAME: lambda block: 0.1}, noise=0.02)
    found = mean_of(rows, SAME)
    values = rows.groupby("first_seed")["cosine"].mean()
    half = 4.302653 * values.std(ddof=1) / math.sqrt(3)
    assert found[:3] == pytest.approx((values.mean(), values.mean() - half, values.mean() + half))
    assert found.units == 3


def test_pairs_that_share_runs_give_no_false_certainty():
    """Six pairs of three seeds: as if independent, the interval would cover far less than 95 times in 100."""
    draw, hits, narrow = np.random.default_rng(1), 0, 0
    pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
    for _ in range(150):
        first, second = draw.normal(size=4), draw.normal(size=4)
        rows = pd.DataFrame(
            {"first_seed": [a for a, _ in pairs], "second_seed": [b for _, b in pairs],
             "cosine": [first[a] + second[b] for a, b in pairs]}
        )  # fmt: skip
        found = over_seeds(rows, lambda rows: rows["cosine"].mean())
        hits += found.low <= 0 <= found.high
        half = 1.96 * rows["cosine"].std() / math.sqrt(len(rows))
        narrow += abs(found.value) <= half
    assert hits / 150 > 0.9
    assert narrow / 150 < 0.85


def test_too_few_seeds_give_a_value_and_no_interval():
    two = table({OTHER: lambda block: 0.1}, seeds=range(2))
    found = mean_of(two, OTHER)
    assert found.value == pytest.approx(0.1)
    assert math.isnan(found.low)
    assert math.isnan(mean_of(two, "LoRA – nothing").value)


def test_by_layer_keeps_kinds_and_blocks_apart():
    rows = table({SAME: lambda block: block / 10, OTHER: lambda block: -block / 10})
    layers = by_layer(rows)
    assert list(layers.columns) == ["kind", "layer", "block", "role", "mean", "low", "high", "pairs", "seeds", "chance"]
    assert layers.set_index(["kind", "block"])["mean"].to_dict() == pytest.approx(
        {(kind, block): sign * block / 10 for kind, sign in ((SAME, 1), (OTHER, -1)) for block in BLOCKS}
    )
    assert dict(zip(layers["kind"], layers["pairs"], strict=True)) == {SAME: 3, OTHER: 6}
    assert by_kind(rows)["mean"].tolist() == pytest.approx([0.25, -0.25])
    assert by_layer(rows, "cka")["chance"].isna().all()


def test_differences_and_shares_leave_a_seed_out_of_both():
    rows = table({SAME: lambda block: 0.3, OTHER: lambda block: 0.1}, noise=0.05)
    assert difference(rows, SAME, OTHER).value == pytest.approx(0.2, abs=1e-12)
    level = table({SAME: lambda block: 0.3, CEILING: lambda block: 0.6})
    assert share(level, SAME, CEILING)[:3] == pytest.approx((0.5, 0.5, 0.5))
    assert math.isnan(share(table({SAME: lambda block: 1.0, CEILING: lambda block: 0.0}), SAME, CEILING).value)


@pytest.mark.parametrize(("sign", "tau"), [(1, 1.0), (-1, -1.0)])
def test_a_steady_rise_has_the_least_p_that_six_blocks_allow(sign, tau):
    found = trend(table({SAME: lambda block: sign * block**2}, noise=0.1)).iloc[0]
    assert found["tau"] == pytest.approx(tau)
    assert found["p"] == pytest.approx(2 / math.factorial(6))
    assert found["rise"] == pytest.approx(sign * 25)
    assert found["low"] == pytest.approx(found["high"]) == pytest.approx(sign * 25)


def test_the_p_of_a_trend_counts_all_orders_of_the_layers():
    values = (0.1, 0.5, 0.2, 0.3, 0.9, 0.7)
    depth = [(a, b) for a in BLOCKS for b in BLOCKS if a < b]
    score = [abs(sum(np.sign(order[b] - order[a]) for a, b in depth)) for order in permutations(values)]
    found = trend(table({SAME: lambda block: values[block]}, seeds=range(1))).iloc[0]
    assert found["p"] == pytest.approx(np.mean(np.array(score) >= score[0]))
    assert 0.1 < found["p"] < 0.2


def test_holm_is_over_the_kinds_asked_for():
    rows = table({SAME: lambda block: block, OTHER: lambda block: -block, CEILING: lambda block: block})
    assert trend(rows, [SAME])["p_holm"].iloc[0] == pytest.approx(2 / 720)
    assert trend(rows)["p_holm"].tolist() == pytest.approx([6 / 720] * 3)


def test_two_blocks_have_no_p_and_one_no_rise():
    found = trend(table({SAME: lambda block: block}, blocks=range(2))).iloc[0]
    assert found["rise"] == pytest.approx(1)
    assert math.isnan(found["p"])
    assert math.isnan(found["p_holm"])
    assert math.isnan(trend(table({SAME: lambda block: block}, blocks=range(1)))["rise"].iloc[0])


def test_a_kind_or_measure_that_is_not_there_is_named():
    rows = table({SAME: lambda block: block})
    with pytest.raises(vxlab.VxlabError, match="did you mean 'VeRA – LoRA, same seed'"):
        trend(rows, ["VeRA – LoRA, same seeds"])
    with pytest.raises(vxlab.VxlabError, match="measure='cosines' is unknown; choose one of cosine, columns"):
        by_layer(rows, "cosines")
