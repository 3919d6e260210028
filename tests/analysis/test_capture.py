"""What share of a gradient an adapter can follow, against least squares on the explicit Jacobian."""

import math

import pytest
import torch
from torch import Tensor

import vxlab
from vxlab.analysis.capture import best_capture, captured_share, lora_capture, project, vera_capture
from vxlab.analysis.subspaces import energy_inside
from vxlab.analysis.update import Update
from vxlab.errors import VxlabError
from vxlab.experiments.runs.gradients import weight_gradients

SHAPES = [(8, 6), (6, 8), (7, 7)]


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _by_least_squares(gradient: Tensor, update, *trained: Tensor) -> float:
    """Return the share of G in the column space of ∂ΔW/∂(trained), from autograd's Jacobian."""
    jacobians = torch.autograd.functional.jacobian(lambda *tensors: update(*tensors).flatten(), trained)
    J = torch.cat([each.reshape(gradient.numel(), -1) for each in jacobians], 1)
    solution = torch.linalg.lstsq(J, gradient.flatten()[:, None], driver="gelsd", rcond=1e-12).solution
    return float((J @ solution).square().sum() / gradient.square().sum())


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_lora_follows_what_least_squares_on_its_jacobian_can(shape, rank):
    out, into = shape
    G, A, B = _draw(out, into), _draw(rank, into, seed=1), _draw(out, rank, seed=2)
    zero = torch.zeros(out, rank, dtype=torch.float64)
    start = _by_least_squares(G, lambda A, B: B @ A, A, zero)
    assert lora_capture(G, A) == pytest.approx(start, abs=1e-10)
    assert lora_capture(G, A, zero) == pytest.approx(start, abs=1e-10)
    assert lora_capture(G, A, B) == pytest.approx(_by_least_squares(G, lambda A, B: B @ A, A, B), abs=1e-10)
    assert lora_capture(G, A, B) > lora_capture(G, A)


@pytest.mark.parametrize("rank", [1, 3, 6])
@pytest.mark.parametrize("shape", SHAPES)
def test_lora_xs_follows_what_least_squares_on_its_jacobian_can(shape, rank):
    out, into = shape
    G, left, right = _draw(out, into), _draw(out, rank, seed=1), _draw(rank, into, seed=2)
    share = _by_least_squares(G, lambda R: left @ R @ right, torch.zeros(rank, rank, dtype=torch.float64))
    assert captured_share(G, left, right) == pytest.approx(share, abs=1e-10)
    scales = torch.logspace(0, -6, rank, dtype=torch.float64)
    assert captured_share(G, left, scales[:, None] * right) == pytest.approx(share, abs=1e-8)


@pytest.mark.parametrize("rank", [1, 2, 5, 12])
@pytest.mark.parametrize("shape", SHAPES)
def test_vera_follows_what_least_squares_on_its_jacobian_can(shape, rank):
    out, into = shape
    G, A, B = _draw(out, into), _draw(rank, into, seed=1), _draw(out, rank, seed=2)
    b, d = _draw(out, seed=3), _draw(rank, seed=4)

    def update(b, d):
        return b[:, None] * B * d @ A

    start = 0 * b
    assert vera_capture(G, A, B, b, d) == pytest.approx(_by_least_squares(G, update, b, d), abs=1e-9)
    assert vera_capture(G, A, B, start, d) == pytest.approx(_by_least_squares(G, update, start, d), abs=1e-10)
    alone = {"b": lambda b: update(b, d), "d": lambda d: update(b, d)}
    for vectors, point in (("b", b), ("d", d)):
        share = _by_least_squares(G, alone[vectors], point)
        assert vera_capture(G, A, B, b, d, vectors) == pytest.approx(share, abs=1e-9)


def test_vera_with_dead_entries_follows_less_and_stays_defined():
    G, A, B, b, d = _draw(8, 6), _draw(3, 6, seed=1), _draw(8, 3, seed=2), _draw(8, seed=3), _draw(3, seed=4)
    b[:4], d[1] = 0, 0
    share = _by_least_squares(G, lambda b, d: b[:, None] * B * d @ A, b, d)
    assert vera_capture(G, A, B, b, d) == pytest.approx(share, abs=1e-9)
    assert vera_capture(G, A, B, 0 * b, 0 * d) == 0
    B[2] = 0
    assert vera_capture(G, A, B, b, d) == pytest.approx(
        _by_least_squares(G, lambda b, d: b[:, None] * B * d @ A, b, d), abs=1e-9
    )


@pytest.fixture(scope="module")
def steps(tiny_model) -> list[dict[str, Tensor]]:
    """Real gradients: of a small encoder's query and value weights, over four batches of other tokens and labels."""
    torch.manual_seed(0)
    model = vxlab.load_model(tiny_model, 2)
    layers = vxlab.resolve_targets(model, "query-value")
    batches = [{"input_ids": torch.randint(0, 64, (8, 12)), "labels": torch.randint(0, 2, (8,))} for _ in range(4)]
    return [weight_gradients(model, [batch], layers) for batch in batches]


def _histories(steps) -> dict[str, list[Tensor]]:
    real = {layer: [step[layer].double() for step in steps] for layer in steps[0]}
    return real | {"random": [_draw(12, 10, seed=i) for i in range(5)], "flat": [torch.eye(9, 7).double()] * 2}


def test_projected_gradients_add_up_to_the_projected_update(steps):
    """Theorem 3.1, first statement: p is linear, and leaves an update inside the subspace as it is."""
    for gradients in _histories(steps).values():
        out, into = gradients[0].shape
        U, Vh = _draw(out, 3, seed=5), _draw(4, into, seed=6)
        update = -0.1 * torch.stack(gradients).sum(0)
        size = float(update.norm())
        added = -0.1 * torch.stack([project(G, U, Vh) for G in gradients]).sum(0)
        assert float((added - project(update, U, Vh)).norm()) < 1e-10 * size
        assert float((project(added, U, Vh) - added).norm()) < 1e-10 * size
        inside = [U @ _draw(3, 4, seed=i) @ Vh for i in range(5)]  # what training in the subspace does
        moved = -0.1 * torch.stack(inside).sum(0)
        added = -0.1 * torch.stack([project(G, U, Vh) for G in inside]).sum(0)
        assert float((added - moved).norm()) < 1e-10 * float(moved.norm())


def test_the_gradients_own_top_singular_vectors_keep_the_most(steps):
    """Theorem 3.1, second statement: no pair of subspaces keeps more, neither unrelated ones nor near ones."""
    for name, gradients in _histories(steps).items():
        G = gradients[0]
        U, S, Vh = torch.linalg.svd(G, full_matrices=False)
        for rank in (1, 3):
            best = best_capture(G, rank)
            assert captured_share(G, U[:, :rank], Vh[:rank]) == pytest.approx(best, abs=1e-10)
            assert float((project(G, U[:, :rank], Vh[:rank]) - U[:, :rank] * S[:rank] @ Vh[:rank]).norm()) < 1e-10
            others = [(_draw(len(G), rank, seed=i), _draw(rank, G.shape[1], seed=i + 99)) for i in range(30)]
            near = [(U[:, :rank] + size * L, Vh[:rank] + size * R) for L, R in others for size in (1e-3, 1e-1)]
            assert max(captured_share(G, *pair) for pair in others + near) <= best + 1e-12
            if name != "flat":
                assert max(captured_share(G, *pair) for pair in others + near) < best
        assert captured_share(G, U[:, 1:3], Vh[1:3]) <= best_capture(G, 2) + 1e-12


def test_unrelated_subspaces_keep_their_share_of_the_dimensions():
    G = _draw(12, 10)
    shares = [captured_share(G, _draw(12, 3, seed=i), _draw(5, 10, seed=i + 999)) for i in range(600)]
    assert sum(shares) / len(shares) == pytest.approx(3 / 12 * 5 / 10, rel=0.05)


def test_bases_count_by_what_they_span():
    G, U = _draw(8, 6), _draw(8, 2, seed=1)
    skewed = U @ torch.tensor([[1.0, 1e4], [0.0, 1.0]], dtype=torch.float64)
    doubled = torch.cat([U, U @ _draw(2, 3, seed=2)], 1)
    for same in (skewed, doubled, 1e-200 * U):
        assert captured_share(G, U=same) == pytest.approx(captured_share(G, U=U), abs=1e-10)
    assert captured_share(G) == pytest.approx(1)
    assert captured_share(G, U=torch.zeros(8, 2)) == 0
    assert captured_share(1e-250 * G, U=U) == pytest.approx(captured_share(G, U=U), abs=1e-10)
    assert captured_share(G, U, U.T @ G) == pytest.approx(captured_share(G, U=U), abs=1e-10)


def test_a_zero_gradient_has_no_share():
    G, A, B = torch.zeros(8, 6), _draw(2, 6), _draw(8, 2)
    shares = [captured_share(G, B, A), best_capture(G, 2), lora_capture(G, A)]
    assert all(math.isnan(share) for share in [*shares, vera_capture(G, A, B, _draw(8), _draw(2))])


def test_what_does_not_fit_is_refused():
    G = _draw(8, 6)
    with pytest.raises(VxlabError, match=r"U is \(6, 2\) and the gradient \(8, 6\); U is \(out, a\)"):
        project(G, U=_draw(6, 2))
    with pytest.raises(VxlabError, match=r"U has 6 rows, but the matrix needs 8; give U \(8, u\)"):
        captured_share(G, U=_draw(6, 2))
    with pytest.raises(VxlabError, match=r"Vh is \(2, 8\) and the gradient \(8, 6\); Vh is \(b, in\)"):
        lora_capture(G, _draw(2, 8))
    with pytest.raises(VxlabError, match="A, B, b and d are"):
        vera_capture(G, _draw(2, 6), _draw(8, 2), _draw(7), _draw(2))
    with pytest.raises(VxlabError, match="vectors='a' is unknown; choose both, b or d"):
        vera_capture(G, _draw(2, 6), _draw(8, 2), _draw(8), _draw(2), "a")
    for rank in (0, 2.5, True):
        with pytest.raises(VxlabError, match=f"rank={rank} is not a positive integer; choose 1 or more"):
            best_capture(G, rank)
    with pytest.raises(VxlabError, match=r"the gradient.* holds NaN"):
        best_capture(torch.full((2, 2), math.nan), 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"A": torch.full((2, 6), math.nan)}, r"A, \(2, 6\), holds NaN or infinite values"),
        ({"B": torch.full((8, 2), math.inf)}, r"B, \(8, 2\), holds NaN or infinite values"),
        ({"lambda_b": torch.full((8,), math.nan)}, r"lambda_b, \(8,\), holds NaN or infinite values"),
        ({"lambda_d": torch.tensor(1.0)}, r"lambda_d is a tensor \(\) of torch.float32 .*; give a vector"),
        ({"lambda_d": [1.0, 1.0]}, "lambda_d is of type list and length 2; give a vector"),
        ({"A": torch.ones(0, 6), "B": torch.ones(8, 0), "lambda_d": torch.ones(0)}, r"A is \(0, 6\), an empty matrix"),
    ],
    ids=["NaN in A", "infinity in B", "NaN in an unused b", "no vector", "no tensor", "rank 0"],
)
def test_veras_tensors_are_checked_whichever_train(changed, message):
    sound = {"A": _draw(2, 6), "B": _draw(8, 2), "lambda_b": _draw(8), "lambda_d": _draw(2)}
    for vectors in ("both", "b", "d"):
        with pytest.raises(VxlabError, match=message):
            vera_capture(_draw(8, 6), **sound | changed, vectors=vectors)


def test_a_captured_share_is_an_updates_energy_inside_the_same_spaces():
    left, right, U, Vh = _draw(8, 3), _draw(3, 6, seed=1), _draw(8, 2, seed=2), _draw(2, 6, seed=3)
    for spaces in ({"U": U}, {"Vh": Vh}, {"U": U, "Vh": Vh}):
        assert captured_share(left @ right, **spaces) == pytest.approx(
            energy_inside(Update(left, right), **spaces), rel=1e-12
        )
