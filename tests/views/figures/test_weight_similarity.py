"""Figures and sentences of how alike updates are."""

import numpy as np
import pandas as pd
import pytest

from vxlab.studies.claims import conclusion
from vxlab.studies.weight_similarity.claims import (
    CEILING,
    OTHER,
    RANDOM,
    SAME,
    beyond_cosine,
    ceiling_sentence,
    similarity_claims,
)
from vxlab.studies.weight_similarity.table import MEASURES
from vxlab.views.figures.weight_similarity import cosine_by_layer, cosine_map, similarity_by_kind

KINDS = [CEILING, SAME, OTHER, RANDOM]
BLOCKS, SEEDS = range(6), range(3)


def table(levels, seeds=SEEDS, noise=1e-4):
    """Return a similarity table with the mean by kind given as a function of the block; the rest follows from it."""
    draw = np.random.default_rng(0)
    rows = []
    for kind in KINDS:
        for a in seeds:
            for b in seeds:
                if (a == b) != kind.endswith(("same seed", "random LoRA")) or (kind == CEILING and a > b):
                    continue
                luck = noise * draw.normal()
                for block in BLOCKS:
                    value = levels[kind](block) + luck
                    others = dict.fromkeys(MEASURES, value + 0.3) | {f"{name}_chance": 0.2 for name in MEASURES}
                    rows.append(
                        {"kind": kind, "first": f"a{a}", "second": f"b{b}", "first_seed": a, "second_seed": b,
                         "layer": f"layer.{block}.query", "block": block, "role": "query", **others,
                         "cosine": value, "cosine_chance": 1 / 1024}
                    )  # fmt: skip
    return pd.DataFrame(rows).drop(columns="cka_chance")


@pytest.fixture(scope="module")
def rising():
    """Return what Figure 5 says: about 2e-3, rising, random at 0, and a ceiling ten times higher."""
    return table(
        {SAME: lambda b: (b + 1) * 6e-4, OTHER: lambda b: (b + 1) * 5e-4, CEILING: lambda b: 2e-2, RANDOM: lambda b: 0}
    )


@pytest.fixture(scope="module")
def falling():
    return table({SAME: lambda b: -1e-2 - 1e-3 * b, OTHER: lambda b: 0, CEILING: lambda b: 0, RANDOM: lambda b: 0})


def test_each_panel_has_its_kinds_the_band_and_the_published_mean(rising):
    figure = cosine_by_layer(rising, [[SAME, RANDOM], [CEILING, SAME]], published=2e-3)
    names = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert names == ["95 % of unrelated pairs", SAME, RANDOM, CEILING, "published mean: 2e-3"]
    lines = [trace for trace in figure.data if trace.name == SAME]
    assert [line.xaxis for line in lines] == ["x", "x2"]
    assert len({line.line.color for line in lines}) == 1
    assert lines[0].y == pytest.approx([0.6 * (b + 1) for b in BLOCKS], abs=0.2)
    assert lines[0].error_y.array == pytest.approx(lines[0].error_y.arrayminus)
    band = next(trace for trace in figure.data if trace.name == "95 % of unrelated pairs")
    assert max(band.y) == pytest.approx(1960 / 1024)
    assert min(band.y) == -max(band.y)


def test_the_map_shows_units_of_chance(rising):
    figure = cosine_map(rising, KINDS)
    assert list(figure.data[0].y) == KINDS
    assert list(figure.data[0].text[0]) == ["20.5"] * 6
    assert figure.data[0].text[3][0] == "−0.1"  # luck of the draw


def test_every_measure_has_a_panel_with_every_kind_and_its_chance(rising):
    figure = similarity_by_kind(rising, KINDS)
    dots = [trace for trace in figure.data if trace.name == "mean, 95 % interval over seeds"]
    ticks = [trace for trace in figure.data if trace.name == "chance level"]
    assert len(dots) == len(MEASURES)
    assert all(list(trace.y) == KINDS for trace in dots)
    assert np.array([trace.x for trace in ticks]) == pytest.approx(
        np.full((4, 4), 0.2)
    )  # a cosine's is no mean, CKA has none
    assert sum(trace.showlegend is not False for trace in dots) == 1


def test_a_kind_without_interval_or_rows_is_drawn_without(rising):
    two = rising[(rising["first_seed"] < 2) & (rising["second_seed"] < 2)]
    figure = cosine_by_layer(two, [[OTHER, "no such kind"]])
    assert np.isnan(figure.data[1].error_y.array).all()
    assert len(figure.data[2].x) == 0


def test_what_the_figure_says_is_consistent_and_its_opposite_contradicts(rising, falling):
    assert [claim.verdict for claim in similarity_claims(rising)] == ["consistent with"] * 4
    assert [claim.verdict for claim in similarity_claims(falling)] == ["contradicts"] * 4
    assert "**Consistent with** *similarity rises in later layers*: 3.00e-3" in conclusion(similarity_claims(rising))


def test_noise_over_seeds_is_too_noisy_and_two_seeds_of_other_pairs_not_measured(rising):
    noisy = table({kind: (lambda b: 1e-3 * b) for kind in KINDS}, noise=0.05)
    assert [claim.verdict for claim in similarity_claims(noisy)][:3] == ["too noisy to say"] * 3
    flat = table({kind: (lambda b: 1e-3 * (b == 3)) for kind in KINDS}, noise=0)
    assert similarity_claims(flat)[3].verdict == "too noisy to say"  # repeats with every seed, in no order
    one = rising[(rising["first_seed"] == 0) & (rising["second_seed"] == 0)]
    assert [claim.verdict for claim in similarity_claims(one)] == ["not measured"] * 4
    nothing = rising[rising["kind"] == CEILING]
    assert [claim.verdict for claim in similarity_claims(nothing)] == ["not measured"] * 4


def test_the_size_is_judged_in_units_of_chance_whatever_the_layers_width(rising):
    narrow = rising.assign(cosine=rising["cosine"] * 8, cosine_chance=rising["cosine_chance"] * 8)
    for width in (rising, narrow):
        claim = similarity_claims(width)[2]
        assert claim.verdict == "consistent with"
        assert claim.here.startswith("2.1 (2.0 to 2.3, 3 seeds) times; ")
    assert similarity_claims(rising.assign(cosine_chance=1 / 128))[2].verdict == "contradicts"
    assert "assumed: the paper names no model for its Figure 5" in claim.published


def test_what_was_not_measured_is_never_told_as_nan(rising):
    one = rising[(rising["first_seed"] == 0) & (rising["second_seed"] == 0)]
    without = [rising[rising["kind"] == CEILING], one, rising[rising["block"] < 2], rising.assign(cosine=float("nan"))]
    for table in without:
        said = [conclusion(similarity_claims(table)), beyond_cosine(table), ceiling_sentence(table)]
        assert "nan" not in " ".join(said)
    assert [claim.here for claim in similarity_claims(without[0])] == ["no such pair"] * 4
    assert "overlap of the row spaces 0.30" in beyond_cosine(one)


def test_two_blocks_are_too_few_for_a_trend(rising):
    claim = similarity_claims(rising[rising["block"] < 2])[3]
    assert (claim.here, claim.verdict) == ("2 blocks, too few for a trend", "not measured")


def test_the_ceiling_is_said_with_its_share(rising, falling):
    said = ceiling_sentence(rising)
    assert "two LoRA runs with other seeds have a cosine of 20.0" in said
    assert " % of it (95 % interval " in said
    assert "cannot be told from 0" in ceiling_sentence(falling)
    assert "was not measured" in ceiling_sentence(rising[rising["kind"] == SAME])


def test_overlaps_are_told_against_chance_and_outputs_against_random_updates(rising):
    said = beyond_cosine(rising)
    assert "overlap of the row spaces 0.30" in said
    assert "above chance's 0.200" in said
    assert "above a random update's 0.300" in said
