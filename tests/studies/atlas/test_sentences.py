"""Sentences hold of whole and of partial atlases, and say what is lacking."""

import numpy as np
import pandas as pd
import pytest
from toy_task_grid import across

from vxlab.studies.atlas import sentences
from vxlab.studies.atlas.claims import atlas_claims
from vxlab.studies.atlas.contrasts import layer_effects, rank_effects
from vxlab.studies.atlas.mean_ranks import mean_ranks
from vxlab.studies.atlas.pooled import pooled_differences
from vxlab.studies.atlas.power import open_questions
from vxlab.studies.atlas.rates import OVER_FULL, best_rates
from vxlab.studies.atlas.rules import rules_of_thumb

BASE = np.array([80.0, 75.0, 70.0, 85.0, 78.0])
NAN = float("nan")
ATLASES = {
    "whole": {"full": BASE + 4, "head": BASE - 9, "LoRA 1 qv": BASE, "LoRA 4 qv": BASE + 1, "LoRA 1 al": BASE + 2},
    "two candidates": {"full": BASE, "head": BASE - 9},
    "one task": {"full": [80.0], "head": [70.0], "LoRA 4 qv": [79.0]},
    "one candidate": {"full": BASE},
    "nobody on all": {"full": [80.0, NAN, 81.0], "head": [NAN, 70.0, 71.0], "LoRA 4 qv": [79.0, 70.0, NAN]},
}


def say(found, reference="full"):
    """Return all sentences of an atlas."""
    unit, ranks, pooled = found.unit, mean_ranks(found.scores), pooled_differences(found, reference)
    return [
        sentences.coverage_sentence(found), sentences.apart_sentence(found, pooled_differences(found), ranks),
        sentences.ranks_sentence(ranks), sentences.reference_sentence(pooled, reference, unit),
        sentences.rank_sentence(rank_effects(found), unit), sentences.layers_sentence(layer_effects(found), unit),
        sentences.rates_sentence(best_rates(found)), sentences.rules_sentence(rules_of_thumb(found), unit),
        sentences.open_sentence(open_questions(found, pooled), reference, 2, unit),
        sentences.claims_sentence(atlas_claims(found)),
    ]  # fmt: skip


@pytest.mark.parametrize("means", ATLASES.values(), ids=ATLASES)
def test_every_atlas_is_told_without_a_number_that_is_none(means):
    told = " ".join(say(across({name: list(row) for name, row in means.items()})))
    assert "nan" not in told
    assert "None" not in told.replace("None of", "")


def test_a_whole_atlas_says_what_differs():
    found = {name: list(row + 0.2 * np.sin(np.arange(5) + len(name))) for name, row in ATLASES["whole"].items()}
    told = dict(enumerate(say(across(found, error=0.3))))
    assert "5 tasks" in told[0]
    assert "Lacking" not in told[0]
    assert "below it" in told[3]
    assert "head (−13.0 points" in told[3]
    assert "LoRA on query-value, r=4 less r=1: +1." in told[4]
    assert "of 1 pair" in told[5]


def test_a_partial_atlas_says_what_lacks():
    told = say(across(ATLASES["nobody on all"]))
    assert "of which 0 on all of them" in told[0]
    assert "Lacking somewhere: full (1 task); head (1 task); LoRA 4 qv (1 task)." in told[0]
    told = say(across(ATLASES["one task"]))
    assert "Mean ranks need two tasks" in told[2]
    assert "nothing can be said across tasks" in told[3]
    assert "no family ran at two ranks" in told[4]


def test_factors_and_shares_are_written_as_a_reader_says_them():
    row = {"family": "LoRA", "targets": "query-value", "what": OVER_FULL, "edges": 0, "of": 4}
    known, wide = {"factor": 142.4, "low": 21.6, "high": 7311.0}, {"factor": 24.0, "low": 0.0037, "high": 1.6e5}
    told = sentences.rates_sentence(pd.DataFrame([row | known, row | wide]))
    assert "LoRA on query-value 142 times (22 to 7,311)" in told
    assert "LoRA on query-value 24 times, known to no factor of 1,000" in told
    rule = {"rule": "the most parameters", "missed": -0.31, "low": -3.6, "high": 3.0, "share": -0.0148, "n": 2}
    assert "(95 % −3.6 to 3.0, −1 % of the way to the worst)" in sentences._missed(rule, "points")
