"""The singular triplets of RoBERTa-large's and of a 7B model's matrices: time on the GPU, and errors against LAPACK."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import stand_ins
import torch
from torch import Tensor
from transformers import RobertaForSequenceClassification

import vxlab
from vxlab.spectra import Slice, decompose, in_batches, leading_triplets, singular_triplets

KEEP = slice(0, 32)
"""The block that spectra computes for every rank up to 32."""


def cases(device: str, tiny: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    groups = {"square, few": 8, "square": None, "tall": None, "wide": None}
    return {
        **{name: partial(batched, name, count, device, tiny) for name, count in groups.items()},
        "attach LoRA-XS to query and value": partial(attached, device, tiny),
        **{f"top 64, i^-{p}": partial(leading, p, device, tiny) for p in (0.3, 0.6)},
    }


def weights_of(device: str, tiny: bool) -> dict[str, Tensor]:
    # Width 128 where tiny, for a block of 32 is to be less than half of what there is.
    sizes = {"hidden_size": 128, "intermediate_size": 256} if tiny else {}
    config = stand_ins.roberta("FacebookAI/roberta-large", tiny, **sizes)
    model = stand_ins.build(RobertaForSequenceClassification, config, device)
    return {name: layer.weight.detach() for name, layer in vxlab.resolve_targets(model, "all-linear").items()}


def batched(group: str, count: int | None, device: str, tiny: bool) -> dict[str, Any]:
    """Return how long all matrices of a shape take, how many verify on the device, and two matrices' errors."""
    like = {"s": lambda W: W.shape[0] == W.shape[1], "t": lambda W: W.shape[0] > W.shape[1]}
    chosen = like.get(group[0], lambda W: W.shape[0] < W.shape[1])
    weights = [W for W in weights_of(device, tiny).values() if chosen(W)][:count]
    jobs = [(W, KEEP) for W in weights]
    _wait(device)
    started = time.perf_counter()
    found = in_batches(jobs, torch.device(device))
    seconds = time.perf_counter() - started
    passed = [i for i, each in enumerate(found) if each is not None]
    row: dict[str, Any] = {"matrices": len(weights), "shape": list(weights[0].shape), "seconds": seconds}
    row |= {"verified": len(passed), "ok": len(passed) == len(weights)}
    sample = [found[i] for i in passed[:: max(1, len(passed) - 1)]]
    errors = [errors_of(each, weights[i]) for i, each in zip(passed[:: max(1, len(passed) - 1)], sample, strict=True)]
    row |= {name: max(each[name] for each in errors) for name in (errors[0] if errors else ())}
    row["ok"] = row["ok"] and row.get("values", 1.0) < 1e-12 and row.get("energy", 1.0) < 1e-11
    return row | _by_cpu(weights[:4])


def errors_of(found: Slice, weight: Tensor) -> dict[str, float]:
    """Return the largest error of a singular value and of ``W·v − σ·u``, as shares of σ₁, and the energy missed."""
    W = weight.cpu().double()
    exact = torch.linalg.svdvals(W)
    U, S, Vh = found.U, found.S, found.Vh
    best = exact[KEEP].square().sum()
    return {
        "values": float((S - exact[KEEP]).abs().max() / exact[0]),
        "residual": float((W @ Vh.T - U * S).norm() / exact[0]),
        "energy": float((best - (U.T @ W @ Vh.T).square().sum()).abs() / best),
    }


def leading(falls: float, device: str, tiny: bool) -> dict[str, Any]:
    """Return how long a large matrix's top triplets take by a Krylov space, there and here, and how far apart they are.

    The singular values fall as ``i^-falls``, in random directions.
    """
    n, count = (768, 8) if tiny else (4096, 64)
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=generator)).Q for _ in range(2))
    W = (left * torch.arange(1.0, n + 1) ** -falls) @ right.T
    there = W.to(device)
    leading_triplets(there, count)  # loads the libraries
    _wait(device)
    started = time.perf_counter()
    found = leading_triplets(there, count)
    _wait(device)
    seconds, started = time.perf_counter() - started, time.perf_counter()
    expected = leading_triplets(W, count)
    row: dict[str, Any] = {"seconds": seconds, "cpu_seconds": time.perf_counter() - started, "ok": False}
    if found is None or expected is None:
        return row
    cosines = (found.V.cpu() * expected.V).sum(dim=0).abs()
    row["largest_angle"] = float((2 * (1 - cosines)).clamp_min(0).sqrt().max())  # of a direction with itself
    return row | {"ok": row["largest_angle"] < 1e-5}


def _by_cpu(weights: list[Tensor]) -> dict[str, float]:
    """Return the seconds of a matrix where there is no GPU, on all cores."""
    from unittest import mock

    started = time.perf_counter()
    with mock.patch.object(torch.cuda, "is_available", return_value=False):
        decompose([W.cpu() for W in weights], [KEEP] * len(weights))
    return {"cpu_seconds_each": (time.perf_counter() - started) / len(weights)}


def attached(device: str, tiny: bool) -> dict[str, Any]:
    """Return the seconds of a first and of a second attach, whose triplets come from the cache."""
    weights = {name: W for name, W in weights_of(device, tiny).items() if name.endswith(("query", "value"))}
    seconds = []
    for _ in range(2):
        _wait(device)
        started = time.perf_counter()
        singular_triplets(weights, 16)
        seconds.append(time.perf_counter() - started)
    return {"matrices": len(weights), "first": seconds[0], "again": seconds[1]}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
