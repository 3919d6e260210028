"""The same numbers give the same verdict, whichever study they come from."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from vxlab.experiments.candidates.pairs import pair_sentence
from vxlab.experiments.scoring.significance import Difference, holm
from vxlab.studies.claims import CONSISTENT, CONTRADICTS, NOISY, judge
from vxlab.studies.expressivity.claims import figure_6_claims
from vxlab.studies.start_and_parts.claims import parts_claims, parts_table
from vxlab.studies.start_and_parts.variants import UNCHANGED, Variant
from vxlab.studies.subspaces.bases import IN_WORDS
from vxlab.studies.subspaces.claims import basis_claim, capture_claim, subspace_claims
from vxlab.studies.weight_similarity.claims import SAME, similarity_claims

ERROR, RANDOM, TOP = 0.01, IN_WORDS["random-svd"], IN_WORDS["top"]


def _three(t):
    """Return three values whose mean is t standard errors of 0.01."""
    return [ERROR * (t + shift * math.sqrt(3)) for shift in (-1, 0, 1)]


def _pair(a, b, difference, freedom=2.0, error=ERROR):
    from scipy.special import stdtr, stdtrit

    half, p = error * stdtrit(freedom, 0.975), 2 * stdtr(freedom, -abs(difference) / error)
    row = {"a": a, "b": b, "difference": difference, "low": difference - half, "high": difference + half, "p": p}
    return row | {"seen": False, "error": error, "freedom": freedom}


def _bases(value, others=(), **more):
    return pd.DataFrame([_pair(RANDOM, TOP, value, **more), *others])


def _of_bases(t):
    summary = pd.DataFrame({"candidate": [RANDOM, TOP], "edge": "", "diverged": 0})
    return judge([basis_claim(_bases(t * ERROR), summary, "accuracy")])[0]


def _parts(values, **more):
    """Return the table of VeRA's variants: each is lower than the unchanged method by its value."""
    changed = [Variant("part", name, None) for name in values]
    of = [Variant(UNCHANGED, "as published", None), *changed]
    names = [each.name for each in of]
    summary = pd.DataFrame({"candidate": names, "method": "VeRA", "n": 3, "diverged": 0, "mean": 0.7, "edge": ""})
    pairs = [_pair("as published", name, value, **more) for name, value in values.items()]
    summary = summary.assign(learning_rate=0.01, scores="")
    fair, pairs = SimpleNamespace(names=names), pd.DataFrame(pairs)
    result = SimpleNamespace(fair=fair, summary=summary, pairs=pairs, metric="accuracy")
    return parts_table(result, of)


def _of_parts(t):
    return next(claim for claim in parts_claims(_parts({"b alone": t * ERROR}), "accuracy") if "b alone" in claim.claim)


def _of_similarity(t):
    rows = [(SAME, seed, seed, "query.0", 0, value) for seed, value in enumerate(_three(t))]
    columns = ["kind", "first_seed", "second_seed", "layer", "block", "cosine"]
    return similarity_claims(pd.DataFrame(rows, columns=columns).assign(cosine_chance=math.nan))[0]


def _of_fits(t):
    one = {"shape": "10×10", "entries": 100, "freedom": 1, "rank": 1, "setting": "r=1"}
    rows = [{**one, "family": "LoRA", "parameters": 20, "matrix": i, "error": 0.9} for i in range(3)]
    fits = [{**one, "family": "VeRA", "parameters": 11, "matrix": i, "error": 1 - x} for i, x in enumerate(_three(t))]
    return figure_6_claims(pd.DataFrame(rows + fits))[0]


def _of_capture(t):
    rows = [(f"layer.{i}", 2, family, share) for i, x in enumerate(_three(t))
            for family, share in ((TOP, 0.5 * math.exp(x)), (IN_WORDS["bottom"], 0.5))]  # fmt: skip
    captured = pd.DataFrame(rows, columns=["layer", "rank", "family", "share"]).assign(chance=1e-9)
    return judge([capture_claim(captured)])[0]


PATHS = [_of_bases, _of_parts, _of_similarity, _of_fits, _of_capture]


@pytest.mark.parametrize(("t", "verdict"), [(5.0, CONSISTENT), (4.0, NOISY), (0.0, NOISY), (-7.0, CONTRADICTS)])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__.removeprefix("_of_"))
def test_three_units_with_one_mean_and_error_are_judged_alike_in_every_study(path, t, verdict):
    assert path(t).verdict == verdict


@pytest.mark.parametrize("others", [0, 11])
def test_a_difference_is_judged_alike_as_a_pair_of_bases_as_a_changed_part_and_in_its_own_sentence(others):
    """3.0 points, 95 % 0.4 to 5.6: a claim alone, and none of twelve."""
    value, more = 0.03, {"freedom": 40.0, "error": 0.012865}
    alone = others == 0
    further = [_pair("a", f"b{i}", 0.0, **more) for i in range(others)]
    pairs, table = (
        _bases(value, further, **more),
        _parts({"b alone": value} | {f"x{i}": 0.0 for i in range(others)}, **more),
    )
    p = holm(pairs["p"])[0]
    assert p == pytest.approx(0.3 if others else 0.025, abs=0.01)
    claims = subspace_claims(
        pd.DataFrame(columns=["what", "role", "band", "fraction", "item", "unit", "answer", "label"]), pairs,
        pd.DataFrame({"candidate": [RANDOM, TOP], "edge": "", "diverged": 0}),
        pd.DataFrame(columns=["layer", "rank", "family", "share", "chance"]), metric="accuracy", trivial=0.5,
    )  # fmt: skip
    basis = next(claim for claim in claims if "SST-2" in claim.claim)
    part = next(claim for claim in parts_claims(table, "accuracy") if "b alone" in claim.claim)
    assert basis.verdict == part.verdict == (CONSISTENT if alone else NOISY)
    told = "alone is consistent with it, not after Holm's correction for 12 tests"
    assert (told in basis.here) == (told in part.here) == (not alone)
    assert table.set_index("variant").loc["b alone", "seen"] == alone
    compared = Difference(value, 0.004, 0.056, pairs["p"].iloc[0], covers_seeds=True)
    sentence = pair_sentence("a", "b", compared, p, 1 + others, "accuracy")
    assert ("a is better than b" in sentence) == alone
