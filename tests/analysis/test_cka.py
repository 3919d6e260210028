"""Centred kernel alignment against its definition with n×n matrices."""

import math

import numpy as np
import pytest
import torch

from vxlab.analysis.cka import linear_cka
from vxlab.errors import VxlabError


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _by_definition(X, Y):
    """Nguyen et al., equation 3, as written."""

    def hsic(first, second):
        n = len(first)
        K, L = (each.numpy() @ each.numpy().T for each in (first, second))
        np.fill_diagonal(K, 0)
        np.fill_diagonal(L, 0)
        one = np.ones(n)
        middle = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
        return (np.trace(K @ L) + middle - 2 / (n - 2) * (one @ K @ L @ one)) / (n * (n - 3))

    return hsic(X, Y) / math.sqrt(hsic(X, X) * hsic(Y, Y))


@pytest.mark.parametrize(("n", "p", "q"), [(4, 3, 2), (10, 3, 5), (10, 30, 20), (50, 8, 100), (200, 1, 1)])
def test_cka_is_its_definition(n, p, q):
    X = _draw(n, p) + 3
    Y = X @ _draw(p, q, seed=1) + 0.5 * _draw(n, q, seed=2) - 5
    assert linear_cka(X, Y) == pytest.approx(_by_definition(X, Y), abs=1e-10)
    assert linear_cka(Y, X) == pytest.approx(linear_cka(X, Y), abs=1e-14)


def test_cka_is_blind_to_rotation_scale_and_shift_and_sees_other_maps():
    X = _draw(60, 8)
    rotation = torch.linalg.qr(_draw(8, 8, seed=3)).Q
    for same in (X, 1e-9 * X, -X, X @ rotation, 1e3 * X @ rotation + _draw(8, seed=4)):
        assert linear_cka(X, same) == pytest.approx(1, abs=1e-9)
    assert linear_cka(X, X @ torch.diag(torch.tensor([30.0, *[1.0] * 7]).double())) < 0.9


def test_unrelated_outputs_are_near_zero_also_where_features_outnumber_rows():
    values = [linear_cka(_draw(40, 200, seed=i), _draw(40, 200, seed=i + 1000)) for i in range(50)]
    assert abs(np.mean(values)) < 0.02
    assert min(values) < 0 < max(values)
    biased = _draw(40, 200), _draw(40, 200, seed=1000)
    centred = [each - each.mean(0) for each in biased]
    plain = [(a.T @ b).norm() ** 2 for a, b in ((centred[0], centred[1]), *((c, c) for c in centred))]
    assert plain[0] / (plain[1] * plain[2]).sqrt() > 0.7  # what the debiased estimate is there for


def test_constant_outputs_have_no_similarity():
    X, constant = _draw(10, 3), torch.full((10, 2), 0.1)
    assert math.isnan(linear_cka(X, constant))
    assert math.isnan(linear_cka(constant, constant))
    assert math.isnan(linear_cka(X, torch.zeros(10, 2)))


def test_shapes_and_values_are_checked():
    with pytest.raises(VxlabError, match="X has 10 rows and Y 9"):
        linear_cka(_draw(10, 2), _draw(9, 2))
    with pytest.raises(VxlabError, match="4 or more"):
        linear_cka(_draw(3, 2), _draw(3, 2))
    with pytest.raises(VxlabError, match=r"Y.* holds NaN"):
        linear_cka(_draw(5, 2), torch.full((5, 2), math.nan))
