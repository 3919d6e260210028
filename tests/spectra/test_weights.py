"""Singular triplets and values: exact on every kind of matrix, one sign rule, bands that nest, and honest warnings."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from vxlab.errors import VxlabError
from vxlab.spectra import decomposition as svd
from vxlab.spectra import weights as spectra
from vxlab.spectra.weights import BANDS, SubspaceWarning, singular_triplets, singular_values


def with_values(rows: int, columns: int, values: Tensor, seed: int = 0) -> Tensor:
    """Return a float64 matrix with these singular values, in random directions."""
    generator = torch.Generator().manual_seed(seed)
    draw = (torch.randn(n, len(values), generator=generator, dtype=torch.float64) for n in (rows, columns))
    U, V = (torch.linalg.qr(each).Q for each in draw)
    return (U * values) @ V.T


def gaussian(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


MATRICES = {
    "square": gaussian(150, 150),
    "tall": gaussian(300, 90),
    "wide": gaussian(90, 300),
    "float64": gaussian(120, 140).double(),
    "bfloat16": gaussian(150, 150).bfloat16(),
    "float16": gaussian(150, 150).half(),
    "outlier": gaussian(150, 150) + 5,
    "ill-conditioned": with_values(150, 150, torch.logspace(0, -12, 150, dtype=torch.float64)),
    "repeated": with_values(150, 160, torch.arange(75, 0, -1, dtype=torch.float64).repeat_interleave(2)),
    "huge": gaussian(150, 150).double() * 1e200,
    "tiny": gaussian(150, 150).double() * 1e-200,
    "small": gaussian(6, 9),
    "one row": gaussian(1, 7),
}


def place(n: int, rank: int, band: str) -> slice:
    start = {"top": 0, "middle": (n - rank) // 2, "bottom": n - rank}[band]
    return slice(start, start + rank)


def angle(mine: Tensor, theirs: np.ndarray) -> float:
    """Return the largest principal angle in radians."""
    return float(scipy.linalg.subspace_angles(mine.numpy(), theirs).max())


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("name", MATRICES)
def test_a_band_is_that_slice_of_the_full_decomposition(name: str, band: str) -> None:
    W = MATRICES[name].double()
    rank = min(10, min(W.shape))
    U, S, Vh = scipy.linalg.svd(W.numpy(), full_matrices=False)
    mine, keep = singular_triplets({"layer": MATRICES[name]}, rank, band)["layer"], place(len(S), rank, band)
    np.testing.assert_allclose(mine.S.numpy(), S[keep], rtol=0, atol=1e-14 * S[0])
    if name != "ill-conditioned" or band == "top":  # elsewhere the vectors are as good as 1e-16·σ₁ / gap says, not more
        assert angle(mine.U, U[:, keep]) < 1e-8
        assert angle(mine.Vh.T, Vh[keep].T) < 1e-8
    scale = 1 / S[0]  # the reconstruction of this slice, and both sides' orthonormality
    left = (W * scale).T @ mine.U - mine.Vh.T * (mine.S * scale)
    right = (W * scale) @ mine.Vh.T - mine.U * (mine.S * scale)
    assert float(left.norm()) < 2e-13
    assert float(right.norm()) < 2e-13
    for columns in (mine.U, mine.Vh.T):
        torch.testing.assert_close(columns.T @ columns, torch.eye(rank, dtype=torch.float64), rtol=0, atol=2e-11)


@pytest.mark.parametrize("name", MATRICES)
def test_top_triplets_capture_the_most_energy_there_is(name: str) -> None:
    W = MATRICES[name].double()
    W = W / W.abs().max()
    rank = min(24, min(W.shape))
    U, _, Vh = singular_triplets({"layer": MATRICES[name]}, rank)["layer"]
    best = float(torch.linalg.svdvals(W)[:rank].square().sum())
    assert float((W @ Vh.T).square().sum()) == pytest.approx(best, rel=1e-10)
    assert float((U.T @ W @ Vh.T).square().sum()) == pytest.approx(best, rel=1e-10)


def test_a_slice_and_the_full_decomposition_agree() -> None:
    weights = [MATRICES[name] for name in ("square", "tall", "wide", "outlier")]
    keeps = [slice(0, 32)] * 4
    for weight, keep, found in zip(weights, keeps, svd.decompose(weights, keeps), strict=True):
        whole = svd._full(weight, keep)
        assert not torch.equal(found.U, whole.U)  # the slice was taken, or this test would compare a thing with itself
        for mine, theirs in zip(found, whole, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10 * float(whole.S[0]))


def test_batches_are_the_single_decompositions() -> None:
    names = ["square", "bfloat16", "wide", "ill-conditioned", "square", "huge", "small"]
    jobs = [(MATRICES[name], slice(0, 3) if name == "small" else slice(0, 70)) for name in names]
    batched = svd.in_batches(jobs, torch.device("cpu"))
    passed = [name for name, found in zip(names, batched, strict=True) if found is not None]
    assert passed == ["square", "bfloat16", "square", "small"]  # wide asks for more than half; the others do not verify
    for job, found in zip(jobs, batched, strict=True):
        if found is not None:
            for mine, theirs in zip(found, svd.decompose(*zip(job, strict=True))[0], strict=True):
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11 * float(theirs.max()))


def test_a_batch_is_cut_to_what_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [(gaussian(80, 80, seed), slice(0, 32)) for seed in range(5)]
    monkeypatch.setattr(svd, "_WORKSPACE", 2 * svd._bytes([jobs[0][0]]))
    assert list(svd._same_shape(jobs, torch.device("cpu"))) == [[0, 1], [2, 3], [4]]
    assert all(found is not None for found in svd.in_batches(jobs, torch.device("cpu")))


def test_a_gpu_that_cannot_be_had_leaves_the_work_to_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA error: out of memory")  # what a first call says where others fill the GPU

    weights = {"a": MATRICES["square"], "b": MATRICES["tall"]}
    expected = singular_triplets(weights, 5)
    on_cpu = svd._wide
    monkeypatch.setenv("VXLAB_SPECTRA", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", refused)
    monkeypatch.setattr(svd, "_wide", lambda weight, device=None: refused() if device else on_cpu(weight))
    for name, found in singular_triplets(weights, 5).items():
        assert all(torch.allclose(mine, theirs, atol=1e-10) for mine, theirs in zip(found, expected[name], strict=True))


@pytest.mark.parametrize("spoilt", ["vectors", "order"])
def test_a_slice_that_does_not_verify_is_computed_in_full(spoilt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = torch.linalg.eigh

    def wrong(gram: Tensor) -> tuple[Tensor, Tensor]:
        squares, V = exact(gram)
        if spoilt == "vectors":
            return squares, torch.linalg.qr(V + 1e-6 * torch.randn_like(V)).Q
        V[..., [-1, -5]] = V[..., [-5, -1]]
        return squares, V

    monkeypatch.setattr(torch.linalg, "eigh", wrong)
    (found,) = svd.decompose([MATRICES["square"]], [slice(0, 32)])
    for mine, theirs in zip(found, svd._full(MATRICES["square"], slice(0, 32)), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("shape", [(150, 150), (151, 200), (6, 9), (40, 33)])
def test_a_ranks_triplets_do_not_depend_on_what_was_asked_first(
    shape: tuple[int, int], band: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    W = {"layer": gaussian(*shape)}
    ranks = [rank for rank in (5, 16, 25, 32) if rank <= min(shape)]
    results = []
    for order in (ranks, ranks[::-1]):
        monkeypatch.setenv("VXLAB_SPECTRA", str(tmp_path_factory.mktemp("order")))
        results.append({rank: singular_triplets(W, rank, band)["layer"] for rank in order})
    for rank in ranks:
        assert all(torch.equal(a, b) for a, b in zip(results[0][rank], results[1][rank], strict=True))


def test_a_sweep_of_ranks_needs_one_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    W, calls, exact = {"layer": gaussian(200, 100, seed=5)}, [], spectra.decompose
    monkeypatch.setattr(spectra, "decompose", lambda *args: calls.append(1) or exact(*args))
    wide = singular_triplets(W, 32)["layer"]
    for rank in (4, 8, 12, 16, 20, 25):
        assert torch.equal(singular_triplets(W, rank)["layer"].Vh, wide.Vh[:rank])
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["square", "tall", "wide", "small", "one row", "ill-conditioned"])
def test_signs_follow_the_rule_whatever_the_decomposition_returned(name: str) -> None:
    for rank in (1, min(MATRICES[name].shape)):
        U = singular_triplets({"layer": MATRICES[name]}, rank)["layer"].U
        assert (U.gather(0, U.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("name", MATRICES)
def test_singular_values_are_all_of_them_in_descending_order(name: str) -> None:
    oracle = scipy.linalg.svdvals(MATRICES[name].double().numpy())
    mine = singular_values({"layer": MATRICES[name]})["layer"]
    assert mine.dtype is torch.float64
    np.testing.assert_allclose(mine.numpy(), oracle, rtol=1e-12, atol=1e-15 * oracle[0])


def test_many_layers_come_back_under_their_names() -> None:
    weights = {f"layer.{i}": gaussian(100 + 20 * (i % 3), 100, seed=i) for i in range(7)}
    found, values = singular_triplets(weights, 4), singular_values(weights)
    assert list(found) == list(values) == list(weights)
    for layer, weight in weights.items():
        oracle = torch.linalg.svdvals(weight.double())
        torch.testing.assert_close(found[layer].S, oracle[:4], rtol=1e-12, atol=0)
        torch.testing.assert_close(values[layer], oracle, rtol=1e-12, atol=1e-12)
    assert singular_triplets({}, 4) == singular_values({}) == {}


def test_the_threads_torch_uses_stay_as_many() -> None:
    before = torch.get_num_threads()
    singular_values({str(i): gaussian(20, 20, seed=i) for i in range(3)})
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError):
        svd.in_threads(lambda x: 1 // x, [0])
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_not_finite_are_refused_by_layer(value: float, dtype: torch.dtype) -> None:
    W = gaussian(5, 5).to(dtype)
    W[1, 2] = value
    for compute in (singular_values, lambda weights: singular_triplets(weights, 2)):
        with pytest.raises(VxlabError, match="the weight of `b` holds NaN or infinite values, so it has no SVD"):
            compute({"a": gaussian(5, 5), "b": W})


def test_a_zero_matrix_has_values_but_no_triplets() -> None:
    assert singular_values({"a": torch.zeros(3, 4)})["a"].tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(VxlabError, match="the weight of `a` is zero throughout, so none of its directions"):
        singular_triplets({"a": torch.zeros(3, 4)}, 1)


@pytest.mark.parametrize(
    ("weight", "rank", "band", "message"),
    [
        (gaussian(4, 6), 5, "top", r"rank=5 is more than the 4 singular values of `layer`, \(4, 6\); choose 1-4"),
        (gaussian(4, 6), 0, "top", "rank=0 is not a positive integer"),
        (gaussian(4, 6), 2.0, "top", r"rank=2\.0 is not a positive integer"),
        (gaussian(4, 6), 2, "best", "band='best' is unknown; choose one of top, middle, bottom"),
        (torch.ones(4), 1, "top", r"the weight of `layer` is \(4,\) of torch.float32; an SVD needs a matrix"),
        (torch.ones(4, 4, dtype=torch.int8), 1, "top", "of torch.int8; an SVD needs.*dequantise"),
    ],
)
def test_what_has_no_such_triplets_is_refused(weight: Tensor, rank: int, band: str, message: str) -> None:
    with pytest.raises(VxlabError, match=message):
        singular_triplets({"layer": weight}, rank, band)


ORTHOGONAL = torch.linalg.qr(gaussian(80, 80).double()).Q.float()
DEFICIENT = with_values(80, 80, torch.arange(12, 0, -1, dtype=torch.float64))
PAIRS = with_values(80, 80, torch.arange(40, 0, -1, dtype=torch.float64).repeat_interleave(2))
TALL = with_values(80, 40, torch.cat([torch.arange(38, 0, -1, dtype=torch.float64), torch.zeros(2)]))


@pytest.mark.parametrize(
    ("weight", "rank", "band", "numbers", "arbitrary"),
    [
        (torch.eye(80), 3, "top", "3 and 4, 1 and 1, differ by 0.0e", "3 of the 3"),
        (torch.eye(80), 3, "middle", "41 and 42, 1 and 1,", "3 of the 3"),
        (torch.eye(80), 3, "bottom", "77 and 78, 1 and 1,", "3 of the 3"),
        (ORTHOGONAL, 5, "top", "5 and 6, 1 and 1,", "5 of the 5"),
        (DEFICIENT, 16, "top", "16 and 17, ", "4 of the 16"),
        (DEFICIENT.float(), 16, "top", "16 and 17, ", "4 of the 16"),
        (DEFICIENT.float(), 5, "bottom", "75 and 76, ", "5 of the 5"),
        (PAIRS, 7, "top", "7 and 8, 37 and 37,", "1 of the 7"),
        (PAIRS.float(), 7, "top", "7 and 8, 37 and 37,", "1 of the 7"),
        (TALL, 40, "top", "40 and 41, ", "2 of the 40"),
    ],
)
def test_a_band_cut_between_equal_values_is_said_to_be_arbitrary(
    weight: Tensor, rank: int, band: str, numbers: str, arbitrary: str
) -> None:
    message = rf"the {band} {rank} singular directions of `a\.b` are not unique: its singular values {numbers}.*"
    for _ in range(2):  # computed, and then from the cache
        with pytest.warns(SubspaceWarning, match=f"{message}so {arbitrary} are an arbitrary choice among equals"):
            singular_triplets({"a.b": weight}, rank, band)


@pytest.mark.parametrize(
    ("weight", "rank", "band"),
    [
        (PAIRS, 8, "top"),  # a cut between pairs
        (DEFICIENT, 12, "top"),  # all that is not null
        (torch.eye(80), 80, "top"),  # nothing is left out
        (MATRICES["ill-conditioned"], 25, "bottom"),  # tiny, but apart
        (MATRICES["bfloat16"], 25, "middle"),  # rounded values are the weight's own
        (gaussian(80, 40), 40, "top"),
    ],
)
def test_a_band_cut_at_a_gap_passes_without_a_word(weight: Tensor, rank: int, band: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        singular_triplets({"layer": weight}, rank, band)


def test_weights_without_values_are_named() -> None:
    with pytest.raises(VxlabError, match="`a` is on the meta device"):
        singular_triplets({"a": torch.empty(4, 3, device="meta")}, 2)
    with pytest.raises(VxlabError, match=r"`a` is \(0, 3\)"):
        singular_values({"a": torch.empty(0, 3)})


def test_parameters_and_float8_weights_decompose() -> None:
    weight = torch.nn.Parameter(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(singular_triplets({"a": weight}, 2)["a"].S, singular_triplets({"a": weight.detach()}, 2)["a"].S)
    eighth = weight.detach().to(torch.float8_e4m3fn)
    expected = torch.linalg.svdvals(eighth.double())
    torch.testing.assert_close(singular_values({"a": eighth})["a"], expected)
