"""Intruder dimensions: planted ones are found, none in what did not change, and chance is what sampling gives."""

import math

import numpy as np
import pytest
import torch

from vxlab.analysis.intruders import chance_similarity, intruder_dimensions
from vxlab.analysis.update import FullUpdate, Update
from vxlab.errors import VxlabError


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _planted(shape, size, count=1, seed=5):
    """Return an update of random directions whose singular values are all about ``size``."""
    left = torch.linalg.qr(_draw(shape[0], count, seed=seed)).Q
    return Update(size * left, torch.linalg.qr(_draw(shape[1], count, seed=seed + 1)).Q.mT)


@pytest.mark.parametrize("shape", [(60, 60), (40, 80), (80, 40)])
def test_a_weight_that_did_not_change_has_no_intruder(shape):
    W = _draw(*shape)
    for update in (
        FullUpdate(torch.zeros(shape)),
        Update(torch.zeros(shape[0], 2), _draw(2, shape[1])),
        FullUpdate(0.1 * W),
    ):
        found = intruder_dimensions(W, update, top=20, threshold=0.99)
        assert found.count == 0
        assert torch.allclose(found.similarities, torch.ones(20, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("shape", [(60, 60), (40, 80), (80, 40)])
@pytest.mark.parametrize("count", [1, 3])
def test_planted_intruders_are_found_and_counted(shape, count):
    W = _draw(*shape)
    found = intruder_dimensions(W, _planted(shape, 5 * torch.linalg.matrix_norm(W, 2), count), top=10)
    assert found.count == count
    assert (found.similarities[:count] < 0.5).all()
    assert (found.similarities[count:] > 0.5).all()


def test_an_intruder_below_the_top_is_not_looked_at():
    W = torch.diag(torch.linspace(20, 1, 40, dtype=torch.float64))
    weak = _planted((40, 40), 0.01)
    assert intruder_dimensions(W, weak, top=10).count == 0


@pytest.mark.parametrize("shape", [(30, 30), (20, 35), (35, 20)])
def test_similarities_are_the_papers_on_dense_decompositions(shape):
    W, delta = _draw(*shape), 2 * _draw(shape[0], 2, seed=1) @ _draw(2, shape[1], seed=2)
    before, after = (np.linalg.svd(each.numpy(), full_matrices=False)[0] for each in (W, W + delta))
    expected = np.abs(after[:, :10].T @ before).max(axis=1)
    found = intruder_dimensions(W, FullUpdate(delta), threshold=0.7)
    assert np.allclose(found.similarities.numpy(), expected, atol=1e-10)
    assert found.count == (expected < 0.7).sum() > 0


def test_factors_and_the_matrix_they_make_give_the_same():
    W, update = _draw(30, 20), _planted((30, 20), 10.0)
    found, expected = (intruder_dimensions(W, each) for each in (update, FullUpdate(update.to_matrix())))
    assert torch.equal(found.similarities, expected.similarities)


def test_turning_inputs_and_outputs_changes_nothing():
    W, update = _draw(30, 20), _planted((30, 20), 20.0)
    P, Q = torch.linalg.qr(_draw(30, 30, seed=3)).Q, torch.linalg.qr(_draw(20, 20, seed=4)).Q
    plain = intruder_dimensions(W, update)
    turned = intruder_dimensions(P @ W @ Q, Update(P @ update.left, update.right @ Q))
    assert torch.allclose(plain.similarities, turned.similarities, atol=1e-10)
    assert plain.count == turned.count
    assert torch.equal(plain.similarities, intruder_dimensions(-W, Update(-update.left, update.right)).similarities)


def test_outputs_that_the_weight_does_not_reach_have_no_similarity():
    W = torch.zeros(6, 3, dtype=torch.float64)
    W[:3] = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    outside = torch.zeros(6, 1, dtype=torch.float64)
    outside[5] = 100.0
    found = intruder_dimensions(W, Update(outside, torch.tensor([[1.0, 0.0, 0.0]])), top=1)
    assert float(found.similarities[0]) < 0.05
    assert found.chance == chance_similarity(6, 3) < chance_similarity(6, 6)


def test_a_weight_of_lower_rank_counts_only_the_vectors_it_has():
    W = _draw(20, 4) @ _draw(4, 20, seed=1)
    found = intruder_dimensions(W, FullUpdate(torch.zeros(20, 20)), top=10)
    assert found.count == 0
    assert torch.allclose(found.similarities[:4], torch.ones(4, dtype=torch.float64), atol=1e-10)
    assert found.similarities[4:].isnan().all()
    assert found.chance == chance_similarity(20, 4)


def test_every_direction_is_new_to_a_zero_weight_and_none_left_of_a_weight_undone():
    W = _draw(8, 6)
    fresh = intruder_dimensions(torch.zeros(8, 6), FullUpdate(W), top=6)
    assert (fresh.count, fresh.chance) == (6, 0)
    assert fresh.similarities.tolist() == [0.0] * 6
    undone = intruder_dimensions(W, FullUpdate(-W), top=6)
    assert undone.count == 0
    assert undone.similarities.isnan().all()


@pytest.mark.parametrize(("n", "vectors"), [(1, 1), (3, 1), (5, 5), (64, 32), (300, 300)])
def test_chance_is_the_mean_over_random_directions(n, vectors):
    directions = _draw(20_000, n)
    cosines = (directions / directions.norm(dim=1, keepdim=True))[:, :vectors].abs().amax(1)
    error = float(cosines.std()) / math.sqrt(len(cosines))
    assert chance_similarity(n, vectors) == pytest.approx(float(cosines.mean()), abs=4 * error + 1e-9)


def test_chance_has_its_known_values():
    assert chance_similarity(7, 0) == 0
    assert chance_similarity(1, 1) == pytest.approx(1, abs=1e-12)
    assert chance_similarity(2, 1) == pytest.approx(2 / math.pi, abs=1e-12)
    assert chance_similarity(2, 2) == pytest.approx(2 * math.sqrt(2) / math.pi, abs=1e-12)  # mean of max(|cos|, |sin|)


def test_an_unrelated_direction_has_about_the_chance_similarity():
    W = _draw(128, 128)
    found = intruder_dimensions(W, _planted((128, 128), 1000.0, count=10))
    assert float(found.similarities.mean()) == pytest.approx(found.chance, rel=0.25)


def test_half_precision_is_widened():
    W, planted = _draw(20, 20).bfloat16(), _planted((20, 20), 30.0)
    half = planted.left.half(), planted.right.half()
    exact = intruder_dimensions(W.double(), Update(*(factor.double() for factor in half)))
    assert torch.equal(intruder_dimensions(W, Update(*half)).similarities, exact.similarities)


@pytest.mark.parametrize(
    ("weight", "update", "settings", "message"),
    [
        (
            torch.ones(3, 4),
            FullUpdate(torch.ones(4, 3)),
            {},
            r"weight is \(3, 4\) and its update \(4, 3\); give W and ΔW of one",
        ),
        (torch.ones(3), FullUpdate(torch.ones(3, 3)), {}, r"weight is a tensor \(3,\)"),
        (torch.ones(3, 3), (torch.ones(3, 2), torch.ones(2, 3)), {}, "update is of type tuple .*; give Update"),
        (torch.ones(3, 3), torch.ones(3, 3), {}, r"update is a tensor \(3, 3\) .*FullUpdate\(matrix\)"),
        (torch.full((3, 3), math.nan), FullUpdate(torch.ones(3, 3)), {}, "weight.* holds NaN"),
        (
            torch.ones(3, 4),
            FullUpdate(torch.ones(3, 4)),
            {},
            "top=10 is no number of leading singular vectors .* choose 1-3",
        ),
        (torch.ones(3, 4), FullUpdate(torch.ones(3, 4)), {"top": 0}, "top=0 is no number"),
        (torch.ones(3, 4), FullUpdate(torch.ones(3, 4)), {"top": 1, "threshold": 0}, "threshold=0 is no cosine"),
        (torch.ones(3, 4), FullUpdate(torch.ones(3, 4)), {"top": 1, "threshold": 1.5}, "threshold=1.5 is no cosine"),
    ],
)
def test_bad_input_is_refused_in_words(weight, update, settings, message):
    with pytest.raises(VxlabError, match=message):
        intruder_dimensions(weight, update, **settings)


def test_a_number_of_vectors_that_no_space_holds_is_refused():
    with pytest.raises(VxlabError, match="vectors=5 of n=4 are no orthonormal vectors"):
        chance_similarity(4, 5)
