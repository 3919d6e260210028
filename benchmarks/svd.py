"""Measure what attaching LoRA-XS costs: exact triplets, the same from the cache, and the decompositions of others.

    python benchmarks/svd.py [--rounds 9]

Writes benchmarks/results/svd.json: LoRA-XS at rank 25 on all 36 linear layers of MiniLM. About a minute on two cores.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from sklearn.decomposition import TruncatedSVD
from torch import Tensor, nn

import vxlab
from vxlab.experiments import describe_hardware, library_versions, resolve_device
from vxlab.spectra import singular_triplets

RESULTS = Path(__file__).parent / "results" / "svd.json"
RANK = 25

Bases = dict[str, tuple[Tensor, Tensor]]
"""U ``(out, r)`` and Vh ``(r, in)`` in float64, by layer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="how often everything is timed, in turn")
    rounds = parser.parse_args().rounds
    model = vxlab.load_model("minilm", num_labels=2)
    weights = {name: layer.weight.detach() for name, layer in vxlab.resolve_targets(model, "all-linear").items()}
    seconds = _timed_in_turn(model, weights, rounds)
    row = {
        "what": f"LoRA-XS r={RANK}, {len(weights)} matrices of MiniLM, float32",
        "rounds": rounds,
        "seconds": {name: _spread(times) for name, times in seconds.items()},
        "ratios": _ratios(seconds),
        "quality": _quality(weights),
        "hardware": describe_hardware(resolve_device("auto")),
        "versions": library_versions(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    _show(row)


def released(weights: Mapping[str, Tensor]) -> Bases:
    """Do what the released LoRA-XS does on attaching: scikit-learn's randomised SVD of Wᵀ, and all it derives.

    Source: github.com/MohammadrezaBanaei/LoRA-XS, utils/svd_utils.py. It keeps ``transform``'s Wᵀ·V as one adapter
    matrix and ``components_`` as the other; the singular vectors follow by normalising.
    """
    bases = {}
    for name, weight in weights.items():
        matrix = weight.T.numpy()
        svd = TruncatedSVD(n_components=RANK, n_iter=10, random_state=42)
        svd.fit(matrix)
        reduced = svd.transform(matrix)
        svd.inverse_transform(reduced)
        bases[name] = (torch.from_numpy(svd.components_).T, torch.from_numpy(reduced).T)
    return bases


def full(weights: Mapping[str, Tensor]) -> Bases:
    """Decompose every matrix in full, in float64, one after the other: LAPACK on the tall one of W and Wᵀ."""
    bases = {}
    for name, weight in weights.items():
        wide = weight.shape[0] < weight.shape[1]
        U, _, Vh = torch.linalg.svd((weight.T if wide else weight).double(), full_matrices=False)
        U, Vh = (Vh.T, U.T) if wide else (U, Vh)
        bases[name] = (U[:, :RANK], Vh[:RANK])
    return bases


def _timed_in_turn(model: nn.Module, weights: Mapping[str, Tensor], rounds: int) -> dict[str, list[float]]:
    def attach() -> None:
        vxlab.attach(model, vxlab.LoRAXS(rank=RANK), targets="all-linear")

    tasks: dict[str, Callable[[], object]] = {
        "attach": attach,
        "attach again, from the cache": attach,
        "released TruncatedSVD(n_iter=10)": lambda: released(weights),
        "full SVD in float64": lambda: full(weights),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory() as empty:
            os.environ["VXLAB_SPECTRA"] = empty
            for name, task in tasks.items():
                start = time.perf_counter()
                task()
                seconds[name].append(time.perf_counter() - start)
                if task is attach:
                    vxlab.detach(model)
    return {name: times[1:] for name, times in seconds.items()}  # the first round warms up


def _ratios(seconds: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    attach, again, peer, whole = seconds.values()
    pairs = {"attach / released": (attach, peer), "attach / full": (attach, whole), "again / attach": (again, attach)}
    return {name: _spread([a / b for a, b in zip(*pair, strict=True)]) for name, pair in pairs.items()}


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def _quality(weights: Mapping[str, Tensor]) -> dict[str, dict[str, object]]:
    """Compare every basis with the full decomposition's: the energy it captures, and how near its subspace is."""
    exact = full(weights)
    with tempfile.TemporaryDirectory() as empty:
        os.environ["VXLAB_SPECTRA"] = empty
        ours = {name: (U, Vh) for name, (U, _, Vh) in singular_triplets(weights, RANK).items()}
    return {"vxlab": _compared(weights, ours, exact), "released": _compared(weights, released(weights), exact)}


def _compared(weights: Mapping[str, Tensor], bases: Bases, exact: Bases) -> dict[str, object]:
    """Return the worst matrix's share of the energy ‖Uᵀ·W·V‖²_F, and its smallest cosine of a principal angle."""
    energy, cosine = {}, {}
    for name, weight in weights.items():
        best, mine = (_core(weight, *each[name]) for each in (exact, bases))
        energy[name] = float(mine.square().sum() / best.square().sum())
        theirs, own = (torch.linalg.qr(each[name][1].double().T).Q for each in (exact, bases))
        cosine[name] = float(torch.linalg.svdvals(theirs.T @ own)[-1])
    return {
        "least energy": min(energy.values()),
        "matrices below 1 - 1e-6": sum(share < 1 - 1e-6 for share in energy.values()),
        "smallest cosine": min(cosine.values()),
        "energy": energy,
    }


def _core(weight: Tensor, U: Tensor, Vh: Tensor) -> Tensor:
    left, right = (torch.linalg.qr(each.double()).Q for each in (U, Vh.T))
    return left.T @ weight.double() @ right


def _show(row: dict[str, Any]) -> None:
    print(row["what"])
    for kind, unit in (("seconds", "s"), ("ratios", " ")):
        for name, spread in row[kind].items():
            print(f"{name:34} {spread['median']:8.4f} {unit} [{spread['least']:.4f}, {spread['most']:.4f}]")
    for name, found in row["quality"].items():
        print(
            f"{name:34} energy 1 - {1 - found['least energy']:.1e} in the worst matrix, "
            f"{found['matrices below 1 - 1e-6']} below 1 - 1e-6; smallest cosine {found['smallest cosine']:.6f}"
        )


if __name__ == "__main__":
    main()
