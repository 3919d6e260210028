"""Measure the top 64 triplets of a language model's matrices: here, as released for LoRA-XS, and by an exact slice.

    python benchmarks/svd_large.py [--rounds 7] [--shapes 4096x4096 4096x11008]

Writes benchmarks/results/svd_large.json: matrices of the two shapes of a 7B Llama, flat and with falling spectra, two
threads, the methods in turn. The exact slice is timed once, and takes most of the time. Where others load the
machine, read the least times and the ratios of pairs that ran one after the other.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from sklearn.decomposition import TruncatedSVD
from torch import Tensor

import vxlab
from vxlab.experiments import describe_hardware, library_versions, resolve_device
from vxlab.spectra import Slice, decompose, leading_triplets

RESULTS = Path(__file__).parent / "results" / "svd_large.json"
RANK = 64
SHAPES = {"4096x4096": 128, "4096x11008": 96}
"""How many matrices of each a 7B Llama has: query, key, value and output, and the feed-forward's three, 32 times."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often both methods are timed, in turn")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), help="of the matrices")
    chosen = parser.parse_args()
    torch.set_num_threads(2)
    rows: dict[str, dict[str, Any]] = {}
    for shape in chosen.shapes:
        for name, values in spectra().items():
            out_features, in_features = map(int, shape.split("x"))
            rows[f"{shape}, {name}"] = measure(matrix(out_features, in_features, values), chosen.rounds)
            print(f"{shape}, {name:24}", _line(rows[f"{shape}, {name}"]), flush=True)
            _write(rows, chosen.rounds)


def _write(rows: Mapping[str, dict[str, Any]], rounds: int) -> None:
    result = {
        "what": f"top {RANK} triplets, float32 weights; Krylov space, or exact where it is refused",
        "rounds": rounds,
        "matrices": rows,
        "seconds of a 7B Llama's 224 matrices, one after the other": _projected(rows),
        "hardware": describe_hardware(resolve_device("auto")),
        "versions": library_versions(),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def spectra() -> dict[str, Tensor | None]:
    """Return 4,096 singular values by name; None for a Gaussian matrix's own."""
    i = torch.arange(1, 4097, dtype=torch.float64)
    model = vxlab.load_model("mpnet", num_labels=2)
    layers = vxlab.resolve_targets(model, "all-linear")
    own = {
        "as MPNet's first query": next(name for name in layers if name.endswith(("attn.q", "query"))),
        "as MPNet's last feed-forward": [name for name in layers if name.endswith("intermediate.dense")][-1],
    }
    stretched = {
        name: _stretch(torch.linalg.svdvals(layers[layer].weight.detach().double())) for name, layer in own.items()
    }
    return {"i^-0.3": i**-0.3, "i^-0.6": i**-0.6, **stretched, "Gaussian": None}


def matrix(out_features: int, in_features: int, values: Tensor | None) -> Tensor:
    """Return a float32 matrix with these singular values in random directions, or a Gaussian one."""
    generator = torch.Generator().manual_seed(0)
    if values is None:
        return torch.randn(out_features, in_features, generator=generator) / in_features**0.5
    left, right = (
        torch.linalg.qr(torch.randn(n, len(values), generator=generator)).Q for n in (out_features, in_features)
    )
    return (left * values.float()) @ right.T


def released(W: Tensor) -> tuple[Tensor, Tensor]:
    """Return U and Vh by scikit-learn's randomised SVD of Wᵀ, as the released LoRA-XS calls it on attaching."""
    transposed = W.T.numpy()
    svd = TruncatedSVD(n_components=RANK, n_iter=10, random_state=42)
    svd.fit(transposed)
    reduced = svd.transform(transposed)
    return torch.from_numpy(svd.components_).T, torch.from_numpy(reduced).T


def measure(W: Tensor, rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"released": [], "krylov": []}
    for _ in range(rounds + 1):
        _, _ = (
            _timed(seconds["released"], lambda: released(W)),
            _timed(seconds["krylov"], lambda: leading_triplets(W, RANK)),
        )
    exact_seconds: list[float] = []
    exact = _timed(exact_seconds, lambda: decompose([W.double()], [slice(0, RANK)]))[0]
    found = leading_triplets(W, RANK)
    times = {name: values[1:] for name, values in seconds.items()} | {"exact": exact_seconds}  # the first warms up
    ratios = [ours / theirs for ours, theirs in zip(times["krylov"], times["released"], strict=True)]
    row: dict[str, Any] = {
        "accepted": found is not None,
        "seconds": {name: _spread(values) for name, values in times.items()},
        "krylov / released": _spread(ratios) | {"of the least times": min(times["krylov"]) / min(times["released"])},
        "released": compare(W, *released(W), exact),
    }
    if found is not None:
        row["krylov"] = compare(W, found.U, found.V.T, exact) | residuals(W, found.U, found.S, found.V.T)
    return row


def compare(W: Tensor, U: Tensor, Vh: Tensor, exact: Slice) -> dict[str, float]:
    """Return the share of the best energy ‖Uᵀ·W·V‖²_F that is missed, and the sine of the largest angle to V."""
    left, right = (torch.linalg.qr(each.double()).Q for each in (U, Vh.T))
    missed = 1 - (left.T @ W.double() @ right).square().sum() / exact.S.square().sum()
    beside = exact.Vh.T - right @ (right.T @ exact.Vh.T)
    return {"energy missed": float(missed), "sine of the largest angle": float(torch.linalg.matrix_norm(beside, 2))}


def residuals(W: Tensor, U: Tensor, S: Tensor, Vh: Tensor) -> dict[str, float]:
    """Return the largest ``‖W·v − σ·u‖`` and ``‖Wᵀ·u − σ·v‖`` as shares of σ₁."""
    wide = W.double()
    sides = {"W v - s u": wide @ Vh.T - U * S, "W' u - s v": wide.T @ U - Vh.T * S}
    return {name: float(side.norm(dim=0).max() / S[0]) for name, side in sides.items()}


def _timed(seconds: list[float], task: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    found = task()
    seconds.append(time.perf_counter() - start)
    return found


def _stretch(values: Tensor) -> Tensor:
    """Return 4,096 values with the same quantiles."""
    places = torch.linspace(0, len(values) - 1, 4096, dtype=torch.float64)
    low = places.long().clamp_max(len(values) - 2)
    logs = values.log()
    return (logs[low] + (places - low) * (logs[low + 1] - logs[low])).exp()


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def _projected(rows: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return least times by spectrum: of an attempt that is refused, and the exact slice after it, the sum."""
    names = dict.fromkeys(name.partition(", ")[2] for name in rows)
    projected = {}
    for name in names:
        of = {shape: rows[f"{shape}, {name}"] for shape in SHAPES if f"{shape}, {name}" in rows}
        least = {shape: {method: each["least"] for method, each in row["seconds"].items()} for shape, row in of.items()}
        ours = {s: t["krylov"] + (0.0 if of[s]["accepted"] else t["exact"]) for s, t in least.items()}
        projected[name] = {
            "here": sum(SHAPES[s] * seconds for s, seconds in ours.items()),
            "released": sum(SHAPES[s] * t["released"] for s, t in least.items()),
            "exact": sum(SHAPES[s] * t["exact"] for s, t in least.items()),
        }
    return projected


def _line(row: dict[str, Any]) -> str:
    least = {name: f"{each['least']:.2f}" for name, each in row["seconds"].items()}
    ratio, missed = row["krylov / released"], row.get("krylov", {}).get("energy missed", float("nan"))
    return (
        f"accepted {row['accepted']}; seconds {least}; ratio {ratio['of the least times']:.2f}, median "
        f"{ratio['median']:.2f}; energy missed {missed:.1e}, released {row['released']['energy missed']:.1e}"
    )


if __name__ == "__main__":
    main()
