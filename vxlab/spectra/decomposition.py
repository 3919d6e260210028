"""Singular value decompositions of many matrices: whole, or a slice of one at less than half the price."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from vxlab.spectra.krylov import is_worthwhile, leading_triplets

RESIDUAL = 1e-13
"""Largest ``‖Wᵀ·U − V·diag(S)‖_F``, as a share of σ₁, of a slice that is accepted without a full decomposition.

By Wedin's theorem the slice lies within residual / gap of the exact one, as an angle, where the gap is what parts its
singular values from the others. LAPACK leaves up to a fifth of this residual itself, so a full decomposition gains next
to nothing; and at every cut where the gap is more than 2⁻²³·σ₁ the angle is below 1e-13 · 2²³, less than 1e-6, and the
energy captured falls short of the best by less than 1e-12. A narrower cut is one that ``vxlab.spectra`` warns of.
"""

ORTHONORMAL = 1e-11
"""Largest entry of ``UᵀU − I`` and ``VᵀV − I``: four digits finer than the float32 that adapters keep a basis in."""

_WORKSPACE = 4 << 30  # bytes that the threads may use together

Item = TypeVar("Item")
Result = TypeVar("Result")


class Slice(NamedTuple):
    """Some of W's singular triplets, in descending order, and singular values, in float64 on the CPU."""

    U: Tensor
    """(out, k)"""
    S: Tensor
    """(k,)"""
    Vh: Tensor
    """(k, in)"""
    values: Tensor
    """all, ``(min(out, in),)``, outside the slice good to √eps·σ₁ only, enough to tell how far its edges stand off; or
    the largest, some more than the slice holds, where it is from :mod:`vxlab.spectra.krylov`"""


def decompose(weights: Sequence[Tensor], keeps: Sequence[slice]) -> list[Slice]:
    """Return a slice of each matrix's singular triplets.

    A slice of up to half of the triplets comes from the eigenvectors V of the smaller Gram matrix, WᵀW = V·Σ²·Vᵀ, and
    U = W·V·Σ⁻¹, on the GPU for all matrices of a shape at once where there is one. All eigenvalues come with it, so no
    triplet can be missed. Squaring W loses small singular values, therefore each slice is verified, by
    :data:`RESIDUAL` and :data:`ORTHONORMAL`; what does not pass, and what asks for more than half, gets LAPACK's full
    decomposition. Signs follow one rule: the entry of largest magnitude in each left vector is positive.

    Args:
        weights: W, ``(out, in)``, any floating dtype and device, finite.
        keeps: which triplets of each, counted from the largest.
    """
    jobs = list(zip(weights, keeps, strict=True))
    if torch.cuda.is_available():
        leading = [_leading(*job, torch.device("cuda")) for job in jobs]
        others = [job for job, found in zip(jobs, leading, strict=True) if found is None]
        slices = in_batches(others, torch.device("cuda"))
        failed = [job for job, found in zip(others, slices, strict=True) if found is None]
        whole = iter(in_threads(lambda job: _full(*job), failed, _bytes(weights)))
        rest = iter([found or next(whole) for found in slices])
        return [found or next(rest) for found in leading]
    cpu = torch.device("cpu")
    return in_threads(lambda job: _leading(*job, cpu) or _partial(*job) or _full(*job), jobs, _bytes(weights))


def all_values(weights: Sequence[Tensor]) -> list[Tensor]:
    """Return every singular value of each finite matrix, descending, in float64 on the CPU, by LAPACK."""
    return in_threads(lambda weight: torch.linalg.svdvals(_wide(weight)), weights, _bytes(weights))


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], memory: int = 0) -> list[Result]:
    """Return ``[function(item) for item in items]``, by as many threads as torch may use.

    An eigenvalue problem of a few hundred rows runs hardly faster on two cores than on one, so torch's threads are
    shared out among the items: one each where there are plenty.

    Args:
        memory: bytes that one call needs; there are fewer threads where it is much.
    """
    total = torch.get_num_threads()
    workers = max(1, min(total, len(items), _WORKSPACE // max(memory, 1)))
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(total // workers,)) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(total)  # each thread has its own number, but new threads begin with the last one set


def in_batches(jobs: Sequence[tuple[Tensor, slice]], device: torch.device) -> list[Slice | None]:
    """Return what :func:`decompose` does for all matrices of one shape at once; None for what does not pass."""
    slices: list[Slice | None] = [None] * len(jobs)
    for members in _same_shape(jobs, device):
        wide = jobs[members[0]][0].shape[0] < jobs[members[0]][0].shape[1]
        keep = jobs[members[0]][1]
        try:
            stack = torch.stack([_tall(_wide(jobs[i][0], device)) for i in members])
            found = [tensor.cpu() for tensor in _from_gram(stack, keep)]
        except RuntimeError:  # as in _partial, or out of memory
            continue
        for i, U, S, V, values, passed in zip(members, *found, strict=True):
            if passed:
                slices[i] = _oriented(U, S, V, values, wide)
    return slices


def column_signs(columns: Tensor) -> Tensor:
    """Return ±1 for each column: the sign of its entry of largest magnitude."""
    largest = columns.abs().argmax(dim=0, keepdim=True)
    return columns.gather(0, largest)[0].sign()


def _leading(weight: Tensor, keep: slice, device: torch.device) -> Slice | None:
    if keep.start or not is_worthwhile(weight, keep.stop):
        return None
    try:
        found = leading_triplets(weight.detach().to(device), keep.stop)
    except RuntimeError:  # a GPU's memory does not hold it, or LAPACK does not converge
        return None
    return found and _oriented(found.U.cpu(), found.S.cpu(), found.V.cpu(), found.values.cpu(), wide=False)


def _partial(weight: Tensor, keep: slice) -> Slice | None:
    if not _worth_a_slice(weight, keep):
        return None
    try:
        U, S, V, values, passed = (tensor[0] for tensor in _from_gram(_tall(_wide(weight))[None], keep))
    except RuntimeError:  # LinAlgError is one: the squares of huge entries overflow
        return None
    return _oriented(U, S, V, values, weight.shape[0] < weight.shape[1]) if passed else None


def _full(weight: Tensor, keep: slice) -> Slice:
    # LAPACK takes less than half the time for the tall one of a matrix and its transpose.
    U, S, Vh = torch.linalg.svd(_tall(_wide(weight)), full_matrices=False)
    return _oriented(U[:, keep], S[keep].clone(), Vh.mT[:, keep], S, weight.shape[0] < weight.shape[1])


def _from_gram(W: Tensor, keep: slice) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return U, S, V, all singular values, and which matrices of the tall stack passed the verification."""
    squares, V = torch.linalg.eigh(W.mT @ W)
    values, V = squares.clamp_min(0).sqrt().flip(-1), V.flip(-1)[..., keep]
    WV = W @ V
    S = torch.linalg.vector_norm(WV, dim=-2)
    values[..., keep] = S  # not squared, so better than the eigenvalue's root
    U = WV / S[..., None, :]
    # W·V = U·diag(S) holds as written; what squaring may have spoilt shows on the other side.
    residual = torch.linalg.matrix_norm(W.mT @ U - V * S[..., None, :])
    passed = (residual <= RESIDUAL * values[..., 0]) & (S.diff() <= 0).all(-1) & _orthonormal(U) & _orthonormal(V)
    return U, S, V, values, passed


def _orthonormal(columns: Tensor) -> Tensor:
    identity = torch.eye(columns.shape[-1], dtype=columns.dtype, device=columns.device)
    return ((columns.mT @ columns - identity).abs() <= ORTHONORMAL).all(-1).all(-1)


def _oriented(U: Tensor, S: Tensor, V: Tensor, values: Tensor, wide: bool) -> Slice:
    if wide:
        U, V = V, U
    signs = column_signs(U)
    # In rows, as they come back from a file: products of another layout differ in the last digit.
    return Slice((U * signs).contiguous(), S, (V * signs).mT.contiguous(), values)


def _worth_a_slice(weight: Tensor, keep: slice) -> bool:
    width: int = keep.stop - keep.start
    return 2 * width <= min(weight.shape)


def _same_shape(jobs: Sequence[tuple[Tensor, slice]], device: torch.device) -> Iterator[list[int]]:
    """Yield the numbers of jobs that fit one stack: same shape, same slice, not more than memory holds."""
    groups: dict[object, list[int]] = {}
    for i, (weight, keep) in enumerate(jobs):
        if _worth_a_slice(weight, keep):
            groups.setdefault((weight.shape, keep.start, keep.stop), []).append(i)
    for members in groups.values():
        size = max(1, _free(device) // _bytes([jobs[members[0]][0]]))
        yield from (members[i : i + size] for i in range(0, len(members), size))


def _free(device: torch.device) -> int:
    try:
        return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _WORKSPACE
    except RuntimeError:  # it cannot be had: others fill it, or hold it for themselves, or this is a forked process
        return 0


def _bytes(weights: Iterable[Tensor]) -> int:
    """Return what the largest decomposition needs: W and its transpose, V, the Gram matrix and LAPACK's workspace."""
    return max((8 * (2 * weight.numel() + 5 * min(weight.shape) ** 2) for weight in weights), default=0)


def _wide(weight: Tensor, device: torch.device | None = None) -> Tensor:
    # The one place where precision is chosen: torch has no SVD in half precision, and float32 vectors differ between
    # machines more than a fingerprint should forgive. Moved before it is widened, for MPS has no float64.
    return weight.detach().to(device or "cpu").double()


def _tall(weight: Tensor) -> Tensor:
    return weight if weight.shape[0] >= weight.shape[1] else weight.mT
