"""Measure what spectra and cosines of updates cost from the thin factors, against forming every update.

    python benchmarks/analysis.py [--rounds 5] [--layers 48] [--threads 1 2]

Writes benchmarks/results/analysis.json: adapters on RoBERTa-large's query and value layers, 48 of 1024×1024, with
float64 factors as ``trained_updates`` returns them. Forming is what a careful person writes: left @ right in float64,
then LAPACK's singular values, or a dot product of the flattened updates over their norms; and the same with torch's
``cosine_similarity``. Memory is the highest sum of live allocations beyond the inputs, from torch's own profiler.
A spectrum of a formed update takes seconds, so spectra are measured on a quarter of the layers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import vxlab
from vxlab.analysis import Update
from vxlab.experiments import describe_hardware, library_versions, resolve_device

RESULTS = Path(__file__).parent / "results" / "analysis.json"
WIDTH = 1024

Updates = list[Update]
Ways = Mapping[str, Callable[[Update, Update], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is timed, in turn")
    parser.add_argument("--layers", type=int, default=48, help="of 1024×1024")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="each measured in its own process")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_rows(options.layers, options.rounds, options.threads[0])))
        return
    rows = [row for threads in options.threads for row in _in_its_own_process(options, threads)]
    result = {"rows": rows, "hardware": describe_hardware(resolve_device("cpu")), "versions": library_versions()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _in_its_own_process(options: argparse.Namespace, threads: int) -> list[dict[str, Any]]:
    """Measure with so many threads: SciPy's LAPACK reads their number from the environment, once."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    command = [sys.executable, __file__, "--child", "--threads", str(threads)]
    command += ["--rounds", str(options.rounds), "--layers", str(options.layers)]
    # The profiler reports every start and stop on standard error.
    done = subprocess.run(
        command, env=os.environ | dict.fromkeys(names, str(threads)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    for row in rows:
        _show(row)
    return rows


def _rows(layers: int, rounds: int, threads: int) -> list[dict[str, Any]]:
    torch.set_num_threads(threads)
    return [
        {"what": what, "threads": threads, **_measured(ways, first, second, rounds)}
        for what, ways, first, second in _cases(layers)
    ]


def formed_cosine(a: Update, b: Update) -> float:
    """Form both updates; their dot product over their norms."""
    x, y = ((each.left @ each.right).flatten() for each in (a, b))
    return float(x @ y / (x.norm() * y.norm()))


def formed_by_torch(a: Update, b: Update) -> float:
    """Form both updates; torch's own cosine."""
    x, y = ((each.left @ each.right).flatten() for each in (a, b))
    return float(torch.nn.functional.cosine_similarity(x, y, dim=0))


def formed_spectra(a: Update, b: Update) -> list[Tensor]:
    """Form both updates; their singular values."""
    return [torch.linalg.svdvals(each.left @ each.right) for each in (a, b)]


def spectra(a: Update, b: Update) -> list[Tensor]:
    """Take the singular values from the factors."""
    return [a.singular_values(), b.singular_values()]


def formed_product(a: Update, b: Update) -> float:
    """Form both updates; their dot product, which is their cosine where spectra have given the norms."""
    x, y = ((each.left @ each.right).flatten() for each in (a, b))
    return float(x @ y)


COSINES: Ways = {"factors": Update.cosine, "formed": formed_cosine, "formed, cosine_similarity": formed_by_torch}
PRODUCTS: Ways = {"factors": Update.inner_product, "formed": formed_product}
SPECTRA: Ways = {"factors": spectra, "formed": formed_spectra}


def _cases(layers: int) -> list[tuple[str, Ways, Updates, Updates]]:
    few = max(1, layers // 4)
    cases: list[tuple[str, Ways, Updates, Updates]] = []
    for rank in (256, 128, 64, 8):
        lora, other = (_trained(vxlab.LoRA(rank=rank), layers, seed) for seed in (0, 1))
        vera = _trained(vxlab.VeRA(rank=rank), layers, 2)
        cases += [
            (f"cosines LoRA-LoRA r={rank}", COSINES, lora, other),
            (f"cosines LoRA-VeRA r={rank}", COSINES, lora, vera),
        ]
        if rank in (256, 64):
            cases.append((f"cosines, norms known, r={rank}", PRODUCTS, lora, other))
            cases.append((f"spectra LoRA and VeRA r={rank}", SPECTRA, lora[:few], vera[:few]))
    return cases


def _trained(method: Any, layers: int, seed: int) -> Updates:
    """Return float64 factors of a family whose trained tensors are Gaussian."""
    torch.manual_seed(seed)
    shape = (WIDTH, WIDTH)
    shared = method.shared([shape])
    updates = []
    for _ in range(layers):
        trained = {name: torch.randn(tensor.shape) for name, tensor in method.trained(shape).items()}
        left, right = method.factors({**shared, **trained}, shape)
        updates.append(Update(left.double(), right.double()))
    return updates


def _measured(ways: Ways, first: Updates, second: Updates, rounds: int) -> dict[str, Any]:
    """Time the ways in turn, layer by layer, so that a busy machine slows all of them alike."""
    seconds: dict[str, list[float]] = {name: [0.0] * (rounds + 1) for name in ways}
    for i in range(rounds + 1):
        for a, b in zip(first, second, strict=True):
            for name, way in ways.items():
                start = time.perf_counter()
                way(a, b)
                seconds[name][i] += time.perf_counter() - start
    timed = {name: times[1:] for name, times in seconds.items()}  # the first round warms up
    memory = {name: _peak(way, first[0], second[0]) for name, way in ways.items()}
    others = [name for name in ways if name != "factors"]
    paired = {name: [a / b for a, b in zip(timed[name], timed["factors"], strict=True)] for name in others}
    return {
        "layers": len(first),
        "rounds": rounds,
        "seconds": {name: _spread(times) for name, times in timed.items()},
        "times faster": {f"than {name}": _spread(ratios) for name, ratios in paired.items()},
        "bytes": memory,
        "share of memory": {f"of {name}": memory["factors"] / memory[name] for name in others},
        "largest difference": _difference(ways, first, second),
    }


def _peak(way: Callable[[Update, Update], object], a: Update, b: Update) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        way(a, b)
    events = profiler.profiler.kineto_results.events()  # the one place where frees stand beside allocations
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    live = peak = 0
    for _, change in changes:
        live += change
        peak = max(peak, live)
    return peak


def _difference(ways: Ways, first: Updates, second: Updates) -> float:
    """Return how far the two ways differ in any layer: cosines as they are, spectra by σ₁, products by their size."""
    worst = 0.0
    for a, b in zip(first, second, strict=True):
        ours, theirs = ways["factors"](a, b), ways["formed"](a, b)
        if isinstance(ours, list) and isinstance(theirs, list):
            apart = [float((x - y[: len(x)]).abs().max() / y[0]) for x, y in zip(ours, theirs, strict=True)]
        else:
            apart = [abs(ours - theirs) / max(abs(theirs), 1.0)]  # type: ignore[operator, arg-type]
        worst = max(worst, *apart)
    return worst


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def _show(row: dict[str, Any]) -> None:
    faster = ", ".join(
        f"{each['median']:.2f} [{each['least']:.2f}, {each['most']:.2f}] times faster {name}"
        for name, each in row["times faster"].items()
    )
    memory = ", ".join(f"{share:.3f} {name}" for name, share in row["share of memory"].items())
    print(
        f"{row['what']:28} {row['threads']} threads: {faster}; memory {memory}; apart {row['largest difference']:.1e}"
    )


if __name__ == "__main__":
    main()
