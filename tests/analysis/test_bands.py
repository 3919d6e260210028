"""Bands of singular triplets: which are taken, and what is rebuilt from them."""

import math
from itertools import pairwise

import pytest
import torch

from vxlab.analysis.bands import BANDS, band, band_rank, cut_band
from vxlab.analysis.update import Update
from vxlab.errors import VxlabError
from vxlab.spectra.weights import Triplets, singular_triplets

FRACTIONS = (0.05, 0.25, 0.5, 0.75, 1.0)


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _triplets(*shape):
    return Triplets(*torch.linalg.svd(_draw(*shape), full_matrices=False))


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (9, 9), (1, 5)])
def test_the_top_band_is_the_nearest_matrix_of_its_rank(shape):
    W = _draw(*shape)
    S = torch.linalg.svdvals(W)
    for fraction in FRACTIONS:
        k = band_rank(len(S), fraction)
        error = torch.linalg.matrix_norm(W - cut_band(W, fraction, "top"))
        assert float(error) == pytest.approx(float(S[k:].square().sum().sqrt()), abs=1e-10)


@pytest.mark.parametrize("name", BANDS)
@pytest.mark.parametrize("shape", [(12, 20), (20, 12)])
def test_the_whole_band_gives_the_matrix_back(name, shape):
    W = _draw(*shape)
    assert torch.allclose(cut_band(W, 1.0, name), W, atol=1e-12)


def test_top_and_bottom_halves_add_up_to_the_matrix_and_are_orthogonal():
    W = _draw(12, 20)
    top, bottom = cut_band(W, 0.5, "top"), cut_band(W, 0.5, "bottom")
    assert torch.allclose(top + bottom, W, atol=1e-12)
    assert torch.linalg.matrix_norm(top @ bottom.mT) < 1e-12
    assert torch.linalg.matrix_norm(top) > torch.linalg.matrix_norm(bottom)


@pytest.mark.parametrize("name", BANDS)
def test_a_band_rebuilt_has_the_singular_values_of_the_band(name):
    triplets = _triplets(12, 20)
    chosen = band(triplets, 0.4, name)
    assert torch.allclose(torch.linalg.svdvals(cut_band(triplets, 0.4, name))[:5], chosen.S, atol=1e-12)
    assert len(chosen.S) == 5
    assert (chosen.S.diff() <= 0).all()


@pytest.mark.parametrize("name", ["top", "middle", "bottom"])
@pytest.mark.parametrize(("shape", "fraction"), [((12, 20), 0.25), ((20, 13), 0.4), ((9, 9), 0.5)])
def test_bands_are_those_that_adapters_take_of_the_same_weight(name, shape, fraction):
    W = _draw(*shape)
    rank = band_rank(min(shape), fraction)
    U, S, Vh = singular_triplets({"layer": W}, rank, name)["layer"]
    assert torch.allclose(cut_band(W, fraction, name), U * S @ Vh, atol=1e-12)


@pytest.mark.parametrize("name", BANDS)
def test_bands_of_one_name_and_seed_nest(name):
    triplets = _triplets(12, 20)
    sets = [set(band(triplets, fraction, name, seed=3).S.tolist()) for fraction in FRACTIONS]
    assert all(smaller <= larger for smaller, larger in pairwise(sets))
    assert [len(values) for values in sets] == [band_rank(12, fraction) for fraction in FRACTIONS]


def test_a_seed_decides_the_random_band_and_no_other():
    triplets = _triplets(40, 40)
    draws = {tuple(band(triplets, 0.5, "random", seed).S.tolist()) for seed in range(5)}
    assert len(draws) == 5
    assert tuple(band(triplets, 0.5, "random", 0).S.tolist()) in draws
    assert torch.equal(band(triplets, 0.5, "top", 0).S, band(triplets, 0.5, "top", 1).S)


def test_an_update_is_cut_to_a_share_of_its_own_rank():
    update = Update(_draw(30, 4), _draw(4, 20, seed=1))
    cut = cut_band(update.svd(), 0.5, "top")
    assert torch.linalg.matrix_rank(cut) == 2
    delta = update.to_matrix()
    S = torch.linalg.svdvals(delta)
    assert float(torch.linalg.matrix_norm(delta - cut)) == pytest.approx(float(S[2:].norm()), rel=1e-10)


def test_a_zero_matrix_stays_zero():
    assert cut_band(torch.zeros(4, 3), 0.5, "bottom").tolist() == torch.zeros(4, 3).tolist()


def test_half_precision_is_widened():
    W = _draw(12, 20).bfloat16()
    assert torch.equal(cut_band(W, 0.25, "top"), cut_band(W.double(), 0.25, "top"))


@pytest.mark.parametrize(
    ("n", "fraction", "rank"),
    [(10, 0.25, 3), (10, 0.24, 2), (10, 1e-12, 1), (1, 0.5, 1), (1, 1, 1), (1024, 0.1, 102), (384, 0.5, 192)],
)
def test_a_fraction_is_the_nearest_whole_number_of_triplets_and_never_none(n, fraction, rank):
    assert band_rank(n, fraction) == rank


@pytest.mark.parametrize("fraction", [0, -0.5, 1.0001, math.nan, math.inf, True, "half"])
def test_a_fraction_outside_its_range_is_refused(fraction):
    message = r"fraction=.* is no share of the singular triplets; choose one above 0, at most 1"
    with pytest.raises(VxlabError, match=message):
        band_rank(10, fraction)
    with pytest.raises(VxlabError, match=message):
        cut_band(torch.ones(3, 3), fraction, "top")


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_a_band_of_nothing_is_refused(n):
    with pytest.raises(VxlabError, match=r"n=.* is no number of singular triplets .* give 1 or more"):
        band_rank(n, 0.5)


def test_empty_triplets_are_refused():
    with pytest.raises(VxlabError, match="n=0 is no number of singular triplets"):
        band(Triplets(torch.ones(3, 0), torch.ones(0), torch.ones(0, 4)), 0.5, "top")


def test_an_unknown_band_is_refused_with_those_there_are():
    with pytest.raises(VxlabError, match="name='upper' is an unknown band; choose one of top, middle, bottom, random"):
        cut_band(torch.ones(3, 3), 0.5, "upper")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ((torch.ones(3, 2), torch.ones(2, 3)), "triplets is a tuple of 2; give U .* for an update those of update.svd"),
        (
            Triplets(torch.ones(3, 2), torch.ones(3), torch.ones(2, 3)),
            r"triplets are U \(3, 2\), S \(3,\), Vh \(2, 3\)",
        ),
        (torch.ones(3), r"matrix is a tensor \(3,\)"),
        (torch.ones(0, 3), r"matrix is \(0, 3\), an empty matrix"),
        (torch.tensor([[math.nan]]), "matrix.* holds NaN"),
    ],
)
def test_what_is_no_matrix_and_no_triplets_is_refused(matrix, message):
    with pytest.raises(VxlabError, match=message):
        cut_band(matrix, 0.5, "top")
