"""Angles, overlaps and energies of subspaces against SciPy, known angles and dense projectors."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from vxlab.analysis.subspaces import (
    chance_energy_inside,
    chance_grid,
    chance_overlap,
    energy_inside,
    overlap,
    overlap_grid,
    principal_angles,
    sampled_angles,
)
from vxlab.analysis.update import FullUpdate, Update
from vxlab.errors import VxlabError

N = 24


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _rotation(n=N, seed=9):
    return torch.linalg.qr(_draw(n, n, seed=seed)).Q


def _at_angles(angles, n=N):
    """Return two orthonormal bases with these principal angles."""
    Q, k = _rotation(n), len(angles)
    angles = torch.tensor(angles, dtype=torch.float64)
    return Q[:, :k], Q[:, :k] * angles.cos() + Q[:, k : 2 * k] * angles.sin()


A5, B3 = _draw(N, 5), _draw(N, 3, seed=1)
CASES = {
    "random": (A5, B3),
    "random, smaller first": (B3, A5),
    "one line each": (A5[:, :1], B3[:, :1]),
    "nested": (A5, A5[:, :3] @ _draw(3, 3, seed=2)),
    "the same": (A5, A5 @ _draw(5, 5, seed=3)),
    "orthogonal": (_rotation()[:, :5], _rotation()[:, 5:9]),
    "rotated by 45 degrees": _at_angles([math.pi / 4] * 3),
    "rotated by several": _at_angles([0.1, 0.5, 1.0, 1.4]),
    "rank-deficient": (torch.cat([A5, A5 @ _draw(5, 4, seed=4)], dim=1), torch.cat([B3, B3], dim=1)),
    "more columns than rows": (_draw(N, 40) @ torch.diag(torch.ones(40).double()), B3),
    "meeting, for lack of room": (_draw(N, 15), _draw(N, 14, seed=5)),
    "shared and not": (torch.cat([A5, B3], dim=1), torch.cat([A5[:, :2], _draw(N, 4, seed=6)], dim=1)),
    "badly scaled": (A5 * torch.logspace(0, -8, 5).double(), B3 * 1e20),
}


@pytest.mark.parametrize(("A", "B"), CASES.values(), ids=CASES)
def test_angles_are_scipys(A, B):
    # Compared as sine and cosine as well, for SciPy leaves tiny angles good to 1e-8 beside large ones.
    expected = torch.from_numpy(subspace_angles(A.numpy(), B.numpy())[::-1].copy())
    found = principal_angles(A, B)
    assert found.shape == expected.shape
    assert torch.allclose(found.cos(), expected.cos(), rtol=0, atol=1e-10)
    clear = expected > 1e-6
    assert torch.allclose(found[clear], expected[clear], rtol=0, atol=1e-10)
    assert (found[~clear] < 1e-13).all()
    assert (found.diff() >= 0).all()


@pytest.mark.parametrize(
    "angles",
    [
        [1e-15, 1e-12, 1e-9],
        [1e-12, 1e-8, 1e-4, 0.3, 1.2],
        [0.0, math.pi / 2],
        [math.pi / 2 - 1e-9, math.pi / 2 - 1e-12],
        [0.7, 0.7, 0.7],
        [0.0],
    ],
)
def test_known_angles_come_back_however_small_or_right(angles):
    A, B = _at_angles(angles)
    expected = torch.tensor(sorted(angles), dtype=torch.float64)
    for turn_a, turn_b in ((torch.eye(len(angles)).double(),) * 2, (_rotation(len(angles)), _rotation(len(angles), 8))):
        assert torch.allclose(principal_angles(A @ turn_a, B @ turn_b), expected, rtol=0, atol=2e-15)


@pytest.mark.parametrize(("A", "B"), CASES.values(), ids=CASES)
def test_angles_and_overlap_depend_on_the_spaces_alone(A, B):
    turn = _rotation(seed=11)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(A.shape[1])[: A.shape[1]]
    mix = _rotation(B.shape[1], 12)
    for other in ((A * signs, B @ mix), (B, A), (turn @ A, turn @ B), (A.flip(1), -3 * B)):
        assert torch.allclose(principal_angles(*other), principal_angles(A, B), rtol=0, atol=1e-10)
        assert overlap(*other) == pytest.approx(overlap(A, B), abs=1e-10)


@pytest.mark.parametrize(("A", "B"), CASES.values(), ids=CASES)
def test_overlap_is_the_mean_squared_cosine_of_scipys_angles(A, B):
    assert overlap(A, B) == pytest.approx(np.mean(np.cos(subspace_angles(A.numpy(), B.numpy())) ** 2), abs=1e-10)


def test_overlap_is_1_inside_and_0_across():
    assert overlap(*CASES["nested"]) == pytest.approx(1, abs=1e-12)
    assert overlap(*CASES["the same"]) == pytest.approx(1, abs=1e-12)
    assert overlap(*CASES["orthogonal"]) == pytest.approx(0, abs=1e-12)
    assert overlap(*CASES["rotated by 45 degrees"]) == pytest.approx(0.5, abs=1e-12)


def test_what_spans_nothing_has_no_angles_and_no_overlap():
    nothing = torch.zeros(N, 2)
    assert principal_angles(nothing, A5).shape == (0,)
    assert principal_angles(nothing, nothing).shape == (0,)
    assert math.isnan(overlap(A5, nothing))
    assert overlap_grid(A5, nothing).isnan().all()


@pytest.mark.parametrize(("A", "B"), CASES.values(), ids=CASES)
def test_the_grid_holds_the_overlap_of_all_leading_columns(A, B):
    grid = overlap_grid(A, B)
    assert grid.shape == (A.shape[1], B.shape[1])
    for i in range(0, A.shape[1], 3):
        for j in range(0, B.shape[1], 2):
            assert float(grid[i, j]) == pytest.approx(overlap(A[:, : i + 1], B[:, : j + 1]), abs=1e-10)


def test_the_grid_of_singular_vectors_is_loras_formula():
    U, V = _rotation()[:, :6], _rotation(seed=10)[:, :4]
    expected = [
        [float(torch.linalg.matrix_norm(U[:, :i].mT @ V[:, :j]) ** 2) / min(i, j) for j in range(1, 5)]
        for i in range(1, 7)
    ]
    assert torch.allclose(overlap_grid(U, V), torch.tensor(expected, dtype=torch.float64), atol=1e-12)


def test_a_dependent_column_adds_no_dimension_to_the_grid():
    doubled = torch.stack([A5[:, 0], -2 * A5[:, 0], A5[:, 1], A5[:, 0] + A5[:, 1], A5[:, 2]], dim=1)
    grid, plain = overlap_grid(doubled, B3), overlap_grid(A5[:, :3], B3)
    assert torch.allclose(grid, plain[[0, 0, 1, 1, 2]], atol=1e-12)
    late = torch.cat([torch.zeros(N, 1).double(), A5], dim=1)
    assert overlap_grid(late, B3)[0].isnan().all()
    assert torch.allclose(overlap_grid(late, B3)[1:], overlap_grid(A5, B3), atol=1e-12)


def _projected_share(delta, U=None, Vh=None):
    """Return the share by dense projectors, P = A·pinv(A)."""
    kept = delta if U is None else U @ torch.linalg.pinv(U) @ delta
    kept = kept if Vh is None else kept @ torch.linalg.pinv(Vh) @ Vh
    return float((torch.linalg.matrix_norm(kept) / torch.linalg.matrix_norm(delta)) ** 2)


UPDATES = {
    "tall": (_draw(30, 3), _draw(3, 20, seed=1)),
    "wide": (_draw(12, 3), _draw(3, 40, seed=1)),
    "rank-deficient": (_draw(30, 2) @ _draw(2, 5, seed=3), _draw(5, 20, seed=1)),
    "rank above min(in, out)": (_draw(10, 25), _draw(25, 12, seed=1)),
    "tiny": (1e-30 * _draw(30, 3), 1e-30 * _draw(3, 20, seed=1)),
}


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_energy_inside_is_that_of_dense_projectors(update):
    delta = update[0] @ update[1]
    U, Vh = _draw(len(delta), 4, seed=5), _draw(6, delta.shape[1], seed=6)
    deficient = torch.cat([U, U[:, :2]], dim=1), torch.cat([Vh, -Vh])
    for spaces in ({"U": U}, {"Vh": Vh}, {"U": U, "Vh": Vh}, {"U": deficient[0], "Vh": deficient[1]}):
        expected = _projected_share(delta / delta.abs().max(), **spaces)
        assert energy_inside(Update(*update), **spaces) == pytest.approx(expected, abs=1e-10)
        assert energy_inside(FullUpdate(delta), **spaces) == pytest.approx(expected, abs=1e-10)


def test_all_energy_is_inside_the_updates_own_spaces_and_none_across():
    left, right = UPDATES["tall"]
    U, update = torch.linalg.svd(left).U, Update(left, right)
    assert energy_inside(update, U=left, Vh=right) == pytest.approx(1, abs=1e-12)
    assert energy_inside(update, U=U[:, 3:]) == pytest.approx(0, abs=1e-12)
    assert energy_inside(update, U=U[:, 3:]) + energy_inside(update, U=U[:, :3]) == pytest.approx(1)


def test_energy_inside_the_leading_triplets_is_their_share():
    delta = _draw(30, 20)
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    share = float(S[:4].square().sum() / S.square().sum())
    for spaces in ({"U": U[:, :4]}, {"Vh": Vh[:4]}, {"U": U[:, :4], "Vh": Vh[:4]}):
        assert energy_inside(FullUpdate(delta), **spaces) == pytest.approx(share, abs=1e-12)


def test_a_zero_update_has_no_energy_and_a_zero_space_holds_none():
    left, right = UPDATES["tall"]
    assert math.isnan(energy_inside(Update(0 * left, right), U=left))
    assert math.isnan(energy_inside(FullUpdate(torch.zeros(30, 20)), U=left))
    assert energy_inside(Update(left, right), U=0 * left) == 0
    assert energy_inside(Update(left, right), Vh=0 * right) == 0


@pytest.mark.parametrize(("n", "a", "b"), [(24, 3, 5), (24, 8, 8), (24, 20, 10), (6, 1, 6), (4, 1, 1)])
def test_chance_levels_are_the_means_over_random_spaces(n, a, b):
    angles = sampled_angles(n, a, b, samples=400)
    overlaps = angles.cos().square().mean(1)
    error = float(overlaps.std() / math.sqrt(len(overlaps)))
    assert float(overlaps.mean()) == pytest.approx(chance_overlap(n, a, b), abs=4 * error + 1e-12)
    assert angles.shape == (400, min(a, b))
    assert (angles.diff(dim=1) >= 0).all()
    assert (angles[:, : max(0, a + b - n)] < 1e-7).all()  # spaces that must meet
    direct = torch.stack(
        [principal_angles(_draw(n, a, seed=2 * i + 1), _draw(n, b, seed=2 * i + 2)) for i in range(150)]
    )
    error = torch.sqrt(direct.var(0) / 150 + angles.var(0) / 400)
    assert ((direct.mean(0) - angles.mean(0)).abs() <= 4.5 * error + 1e-7).all()


def test_chance_of_energy_is_the_mean_over_random_spaces():
    delta = FullUpdate(_draw(20, 12))
    shares = {"u": [], "both": []}
    for seed in range(300):
        U, Vh = _draw(20, 5, seed=seed), _draw(4, 12, seed=1000 + seed)
        shares["u"].append(energy_inside(delta, U=U))
        shares["both"].append(energy_inside(delta, U=U, Vh=Vh))
    for name, ranks in (("u", {"u_rank": 5}), ("both", {"u_rank": 5, "v_rank": 4})):
        error = np.std(shares[name]) / math.sqrt(300)
        assert np.mean(shares[name]) == pytest.approx(chance_energy_inside((20, 12), **ranks), abs=4 * error)


def test_the_chance_grid_is_the_mean_grid():
    grids = torch.stack([overlap_grid(_draw(16, 4, seed=i), _draw(16, 6, seed=500 + i)) for i in range(300)])
    error = grids.std(0) / math.sqrt(300)
    assert ((grids.mean(0) - chance_grid(16, 4, 6)).abs() <= 4.5 * error).all()


def test_a_seed_repeats_the_draws_and_another_does_not():
    assert torch.equal(sampled_angles(20, 3, 4, 5, seed=1), sampled_angles(20, 3, 4, 5, seed=1))
    assert not torch.equal(sampled_angles(20, 3, 4, 5, seed=1), sampled_angles(20, 3, 4, 5, seed=2))


def test_half_precision_is_taken_as_the_numbers_it_holds():
    A, B = A5.bfloat16(), B3.half()
    assert torch.equal(principal_angles(A, B), principal_angles(A.double(), B.double()))
    assert overlap(A, B) == overlap(A.double(), B.double())
    assert torch.equal(overlap_grid(A, B), overlap_grid(A.double(), B.double()))


@pytest.mark.parametrize("function", [principal_angles, overlap, overlap_grid])
@pytest.mark.parametrize(
    ("A", "B", "message"),
    [
        (torch.ones(3, 2), torch.ones(4, 2), r"A is \(3, 2\) and B \(4, 2\).*same number of rows"),
        (torch.ones(3), torch.ones(3, 1), r"A is a tensor \(3,\).*give a matrix"),
        (torch.ones(3, 1), torch.ones(3, 1).long(), "B is .*int64.*give a matrix of real"),
        (torch.ones(3, 0), torch.ones(3, 1), r"A is \(3, 0\), an empty matrix"),
        (torch.ones(3, 1), torch.full((3, 1), math.nan), r"B, \(3, 1\), holds NaN"),
    ],
)
def test_matrices_that_span_no_spaces_to_compare_are_refused(function, A, B, message):
    with pytest.raises(VxlabError, match=message):
        function(A, B)


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ({}, "neither U nor Vh is given"),
        ({"U": torch.ones(5, 2)}, r"U has 5 rows, but the matrix needs 3; give U \(3, u\)"),
        ({"Vh": torch.ones(4, 2)}, r"Vh has 2 columns, but the matrix needs 4; give Vh \(v, 4\)"),
        ({"U": torch.full((3, 1), math.inf)}, r"U, \(3, 1\), holds NaN or infinite"),
        ({"Vh": torch.ones(4)}, r"Vh is a tensor \(4,\)"),
    ],
)
def test_spaces_that_do_not_fit_the_update_are_refused(spaces, message):
    for update in (FullUpdate(torch.ones(3, 4)), Update(torch.ones(3, 2), torch.ones(2, 4))):
        with pytest.raises(VxlabError, match=message):
            energy_inside(update, **spaces)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chance_overlap(4, 5, 1), "a=5 is no dimension of a subspace of a space of n=4; choose 1-4"),
        (lambda: chance_overlap(4, 1, 0), "b=0 is no dimension"),
        (lambda: chance_grid(4, 1, 2.5), "b=2.5 is no dimension"),
        (lambda: chance_overlap(0, 1, 1), "n=0 is not a positive integer"),
        (lambda: chance_energy_inside((4, 3), v_rank=4), "v_rank=4 is no dimension .* choose 1-3"),
        (lambda: sampled_angles(4, 5, 1), "a=5 is no dimension"),
        (lambda: sampled_angles(4, 1, 1, samples=0), "samples=0 is not a positive integer; choose 1 or more"),
    ],
)
def test_dimensions_out_of_range_are_refused(call, message):
    with pytest.raises(VxlabError, match=message):
        call()
