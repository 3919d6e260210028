"""The largest triplets by a Krylov space: as good as stated wherever they are accepted, else refused."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vxlab.spectra import decomposition, krylov
from vxlab.spectra.krylov import ANGLE, Leading, is_worthwhile, leading_triplets
from vxlab.spectra.weights import SubspaceWarning, singular_triplets

N, COUNT = 1024, 16
FALLING = {p: torch.arange(1, N + 1, dtype=torch.float64) ** -p for p in (0.3, 0.6, 1.0)}


def orthonormal(rows: int, columns: int, seed: int) -> Tensor:
    draw = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(draw).Q


LEFT, RIGHT = orthonormal(1300, N, 0), orthonormal(N, N, 1)


def with_values(values: Tensor, rows: int = N) -> Tensor:
    """Return a float32 matrix of 1,024 columns with these singular values, in random directions."""
    left = LEFT if rows == 1300 else orthonormal(rows, N, 2)
    return ((left[:, : len(values)] * values) @ RIGHT[:, : len(values)].T).float()


def accepted(weight: Tensor, count: int = COUNT) -> Leading:
    found = leading_triplets(weight, count)
    assert found is not None
    return found


def subspace_angle(mine: Tensor, theirs: Tensor) -> float:
    """Return the largest angle between directions and a subspace that should hold them, by the sine."""
    return float(torch.linalg.matrix_norm(mine - theirs @ (theirs.T @ mine), 2))


def check(weight: Tensor, found: Leading, count: int = COUNT) -> None:
    """Compare with LAPACK's decomposition in float64: energy, values, directions, residuals, orthonormality."""
    W = weight.double()
    W = W / W.abs().max()
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    best, core = S[:count].square().sum(), found.U.T @ W @ found.V
    assert float(1 - core.square().sum() / best) < 1e-9
    torch.testing.assert_close(found.S / weight.double().abs().max(), S[:count], rtol=1e-9, atol=0)
    for mine, exact in ((found.U, U), (found.V, Vh.T)):
        torch.testing.assert_close(mine.T @ mine, torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-11)
        assert subspace_angle(mine, exact[:, :count]) < ANGLE
    angles = (W.T @ found.U - found.V * S[:count]).norm(dim=0) / (S[:count] - S[count + 20])
    assert float(angles.max()) < ANGLE


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", ["square", "tall", "wide"])
@pytest.mark.parametrize("falls", FALLING)
def test_falling_spectra_are_accepted_and_as_good_as_stated(falls: float, shape: str, dtype: torch.dtype) -> None:
    weight = with_values(FALLING[falls], rows=N if shape == "square" else 1300).to(dtype)
    weight = weight.T if shape == "wide" else weight
    check(weight, accepted(weight))


@pytest.mark.parametrize("power", [-120, -70, 90])
def test_scale_changes_the_values_alone(power: int) -> None:
    weight = with_values(FALLING[0.6])
    found, scaled = accepted(weight), accepted(torch.ldexp(weight, torch.tensor(power)))
    torch.testing.assert_close(scaled.S, found.S * 2.0**power, rtol=1e-6, atol=0)
    assert subspace_angle(scaled.U, found.U) < ANGLE


def damaged(value: float) -> Tensor:
    weight = with_values(FALLING[0.6])
    weight[3, 5] = value
    return weight


REFUSED: dict[str, Callable[[], Tensor]] = {
    "gaussian": lambda: torch.randn(N, N, generator=torch.Generator().manual_seed(0)),
    "wide gaussian": lambda: torch.randn(N, 3 * N, generator=torch.Generator().manual_seed(0)),
    "identity": lambda: torch.eye(N),
    "all equal": lambda: with_values(torch.ones(N, dtype=torch.float64)),
    "rank 12": lambda: with_values(FALLING[0.6][:12]),
    "one outlier over a flat rest": lambda: with_values(torch.cat([torch.tensor([1e6]), torch.ones(N - 1)]).double()),
    "zero": lambda: torch.zeros(N, N),
    "NaN": lambda: damaged(float("nan")),
    "infinite": lambda: damaged(float("inf")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_converge_is_refused(name: str) -> None:
    try:
        assert leading_triplets(REFUSED[name](), COUNT) is None
    except torch.linalg.LinAlgError:
        assert name in ("NaN", "infinite")


@pytest.mark.parametrize("name", ["gaussian", "identity", "all equal", "rank 12"])
def test_what_is_refused_gets_the_exact_decomposition(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight, keep = REFUSED[name](), slice(0, COUNT)
    (exact,) = decomposition.decompose([weight], [keep])
    monkeypatch.setattr(krylov, "LEAST_SIDE", N)
    (found,) = decomposition.decompose([weight], [keep])
    assert len(found.values) == N
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, exact, strict=True))


def test_a_flat_spectrum_is_given_up_before_half_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    products, orthogonal = [], krylov._orthogonal
    monkeypatch.setattr(krylov, "_orthogonal", lambda *args: products.append(1) or orthogonal(*args))
    weight = torch.randn(2048, 2048, generator=torch.Generator().manual_seed(0))
    assert leading_triplets(weight, 32) is None
    assert len(products) <= 2 * 12  # of 24 steps, two blocks each


@pytest.mark.parametrize("above", [1.05, 1.5, 20.0])
def test_a_direction_that_the_start_lacks_is_found_or_the_rest_refused(above: float) -> None:
    start = krylov._gaussian(torch.empty(N, N), seed=0).double()
    Q = torch.linalg.qr(torch.cat([start, RIGHT[:, :1]], 1)).Q
    hidden = Q[:, -1]  # orthogonal to every column of the start
    values = FALLING[0.3]
    rest = with_values(values).double()
    rest = rest - (rest @ hidden)[:, None] * hidden
    left = torch.linalg.svd(rest)[0][:, -1]  # what the rest leaves free, so that nothing but rounding leads there
    weight = (rest + above * values[COUNT - 1] * left[:, None] * hidden).float()
    found = leading_triplets(weight, COUNT)
    if found is not None:
        check(weight, found)
        assert float((hidden @ found.V).norm()) > 0.99


def test_triplets_of_the_weight_that_are_not_its_largest_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = with_values(FALLING[0.6])
    V = torch.linalg.svd(weight.double())[2].T
    monkeypatch.setattr(krylov, "_subspace", lambda W, _, wanted, kept: V[:, :kept])
    check(weight, accepted(weight))
    for missing in (0, COUNT // 2):
        lacking = torch.cat([V[:, :missing], V[:, missing + 1 :]], 1)
        monkeypatch.setattr(krylov, "_subspace", lambda W, _, wanted, kept, V=lacking: V[:, :kept])
        assert leading_triplets(weight, COUNT) is None


@pytest.mark.parametrize("spoilt", [1e-3, 1e-4])
def test_directions_that_are_only_nearly_right_are_refused(spoilt: float, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = with_values(FALLING[0.3])
    V = torch.linalg.svd(weight.double())[2].T
    noise = torch.randn(N, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / N**0.5
    monkeypatch.setattr(krylov, "_subspace", lambda W, _, wanted, kept: (V + spoilt * noise)[:, :kept])
    assert leading_triplets(weight, COUNT) is None


def directions(weight: Tensor) -> Leading:
    found = accepted(weight)
    signs = decomposition.column_signs(found.U)
    return found._replace(U=found.U * signs, V=found.V * signs)


@pytest.mark.parametrize("other", ["float64", "block", "start", "threads"])
@pytest.mark.parametrize("falls", FALLING)
def test_a_basis_comes_out_again_with_other_rounding(falls: float, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = with_values(FALLING[falls])
    first, threads, gaussian = directions(weight), torch.get_num_threads(), krylov._gaussian
    if other == "float64":
        monkeypatch.setattr(krylov, "_scaled", lambda W: (W.double(), 0))
        monkeypatch.setattr(krylov, "_gaussian", lambda W, seed: gaussian(W, seed).double())
        monkeypatch.setattr(krylov, "_beside", lambda X, V: krylov._normalise(X - V.double() @ (V.mT.double() @ X))[0])
    elif other == "block":
        monkeypatch.setattr(krylov, "_BLOCK", 24)
    elif other == "start":
        monkeypatch.setattr(krylov, "_gaussian", lambda W, seed: gaussian(W, seed + 5))
    try:
        torch.set_num_threads(threads % 2 + 1 if other == "threads" else threads)
        second = directions(weight)
    finally:
        torch.set_num_threads(threads)
    for mine, theirs in ((first.U, second.U), (first.V, second.V)):
        # Every direction with its sign, so that what is trained between the bases means the same.
        assert float((mine - theirs).norm(dim=0).max()) < 1e-5
    torch.testing.assert_close(first.S, second.S, rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("out_features", "in_features", "count", "used"),
    [
        (4096, 4096, 64, True),
        (11008, 4096, 256, True),
        (2048, 2048, 128, True),
        (4096, 4096, 288, False),
        (768, 3072, 32, False),  # MPNet
        (4096, 1024, 32, False),  # RoBERTa-large
        (576, 1536, 32, False),  # SmolLM2
    ],
)
def test_only_a_few_triplets_of_large_matrices_come_from_here(
    out_features: int, in_features: int, count: int, used: bool
) -> None:
    weight = torch.empty(out_features, in_features, device="meta")
    assert is_worthwhile(weight, count) is used
    assert not is_worthwhile(weight.double(), count)


def test_bands_come_from_here_under_a_name_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(krylov, "LARGEST_SHARE", 1 / 8)
    weight = {"layer": with_values(FALLING[0.6], rows=1300)}
    monkeypatch.setenv("VXLAB_SPECTRA", str(tmp_path))
    exact, bottom = singular_triplets(weight, 24)["layer"], singular_triplets(weight, 24, "bottom")["layer"]
    kept = {path.name for path in tmp_path.iterdir()}
    monkeypatch.setattr(krylov, "LEAST_SIDE", N)
    assert torch.equal(singular_triplets(weight, 24, "bottom")["layer"].U, bottom.U)
    found = singular_triplets(weight, 24)["layer"]
    assert len({path.name for path in tmp_path.iterdir()} - kept) == 1
    assert torch.equal(found.U, singular_triplets(weight, 24)["layer"].U)
    assert torch.equal(found.U[:, :10], singular_triplets(weight, 10)["layer"].U)
    for mine, theirs in zip(found, exact, strict=True):
        assert not torch.equal(mine, theirs)
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rank", "tied"), [(15, True), (32, False), (31, True)])
def test_a_cut_between_equal_values_is_said_here_too(
    rank: int, tied: bool, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr(krylov, "LEAST_SIDE", N)
    monkeypatch.setattr(krylov, "LARGEST_SHARE", 1 / 8)
    monkeypatch.setenv("VXLAB_SPECTRA", str(tmp_path))
    weight = with_values(FALLING[0.6][: N // 2].repeat_interleave(2), rows=1300)
    (found,) = decomposition.decompose([weight], [slice(0, 32)])
    assert len(found.values) < N
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if tied:
            with pytest.raises(SubspaceWarning, match=rf"the top {rank} .* singular values {rank} and {rank + 1}, "):
                singular_triplets({"layer": weight}, rank)
        else:
            singular_triplets({"layer": weight}, rank)
