"""Bases of column spaces against SciPy, and what every analysis refuses to take for a matrix."""

import math

import pytest
import torch
from scipy.linalg import orth

from vxlab.analysis.matrices import check_matrix, column_basis
from vxlab.errors import VxlabError


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MATRICES = {
    "tall": _draw(20, 5),
    "wide": _draw(5, 20),
    "rank-deficient": _draw(20, 3) @ _draw(3, 8, seed=1),
    "repeated": torch.cat([_draw(20, 2)] * 3, dim=1),
    "badly scaled": _draw(20, 4) * torch.logspace(0, -10, 4, dtype=torch.float64),
    "tiny": 1e-200 * _draw(20, 4),
    "zero": torch.zeros(20, 4, dtype=torch.float64),
}


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_the_basis_is_orthonormal_and_spans_what_scipys_does(matrix):
    Q, expected = column_basis(matrix), torch.from_numpy(orth(matrix.numpy()))
    assert Q.shape == expected.shape
    assert torch.allclose(Q.mT @ Q, torch.eye(Q.shape[1], dtype=torch.float64), atol=1e-12)
    assert torch.allclose(Q @ Q.mT, expected @ expected.mT, atol=1e-6 if Q.shape[1] == 4 else 1e-12)


def test_the_basis_is_of_left_singular_vectors_in_descending_order():
    matrix = _draw(20, 5)
    U = torch.linalg.svd(matrix, full_matrices=False).U
    assert torch.allclose((column_basis(matrix).mT @ U).abs(), torch.eye(5, dtype=torch.float64), atol=1e-12)


def test_a_sound_matrix_comes_back_as_it_is():
    matrix = _draw(3, 4).bfloat16().requires_grad_()
    found = check_matrix("W", matrix)
    assert found.dtype == torch.bfloat16
    assert found.data_ptr() == matrix.data_ptr()
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0]], "W is of type list and length 1; give a matrix of real floating-point numbers, a torch tensor"),
        (torch.ones(2, 2, 2), r"W is a tensor \(2, 2, 2\) of torch.float32 on cpu; give a matrix"),
        (torch.ones(2, 2, dtype=torch.complex64), "W is .*complex64.*; give a matrix of real"),
        (torch.ones(2, 0), r"W is \(2, 0\), an empty matrix; give one row and one column at least"),
        (torch.tensor([[1.0, -math.inf]]), r"W, \(1, 2\), holds NaN or infinite values; give finite ones"),
        (torch.tensor([[1.0, math.nan]]).half(), "W.* holds NaN"),
        (torch.tensor([[1.0, math.nan]]).to(torch.float8_e4m3fn), "W.* holds NaN"),
    ],
)
def test_what_is_no_sound_matrix_is_refused_by_its_name(matrix, message):
    with pytest.raises(VxlabError, match=message):
        check_matrix("W", matrix)
