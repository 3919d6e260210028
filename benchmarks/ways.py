"""Check the cost model by time: run every way through one adapted layer, and see how the chosen one does.

    python benchmarks/ways.py [--rounds 5]

Forward and backward of one layer, float32, for several shapes, ranks and numbers of tokens. The chosen way is compared
with the quickest one that keeps no more for the backward pass. Writes benchmarks/results/ways_<device>.json; about
ten minutes on two cores.
"""

import argparse
import itertools
import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from rounds import interleaved_seconds

from vxlab.adapters.core import Plan, choose_route, operation
from vxlab.experiments import describe_hardware, library_versions, resolve_device

RESULTS = Path(__file__).parent / "results"
SHAPES = [(768, 768), (3072, 768), (768, 3072)]
RANKS = {"left and right train": [8, 64, 384], "left trains": [16, 256, 1024]}
TOKENS = [256, 1024, 2048, 8192]


class Case(NamedTuple):
    """One layer and its input."""

    out_features: int
    in_features: int
    rank: int
    tokens: int
    trains: str

    @property
    def right_trains(self) -> bool:
        return self.trains == "left and right train"

    def chosen(self) -> Plan:
        sizes = (self.tokens, self.out_features, self.in_features, self.rank)
        return choose_route(*sizes, may_fold=True, left_trains=True, right_trains=self.right_trains)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="interleaved timings of each way")
    rounds = parser.parse_args().rounds
    device = resolve_device("auto")
    rows = [measure(case, rounds, device) for case in cases()]
    for row in rows:
        print(
            "{out_features:5} x {in_features:4} r={rank:<4} {tokens:5} tokens, {trains:21} {chosen:52}".format(**row),
            end="",
        )
        print("{over_best:.3f} of the quickest ({best})".format(**row))
    over = sorted(row["over_best"] for row in rows)
    most = over[int(0.9 * len(over))]
    print(f"chosen / quickest: median {statistics.median(over):.3f}, 90 % below {most:.3f}, worst {over[-1]:.3f}")
    result = {"hardware": describe_hardware(device), "versions": library_versions(), "rounds": rounds, "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"ways_{device}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def cases() -> Iterator[Case]:
    for (out, n), trains, tokens in itertools.product(SHAPES, RANKS, TOKENS):
        for rank in RANKS[trains]:
            yield Case(out, n, rank, tokens, trains)


def ways(case: Case) -> list[Plan]:
    """Return every way that keeps what the chosen one keeps, or z as well where x is kept for right's gradient."""
    chosen = case.chosen()
    found = []
    for forward, backward, whole in itertools.product([False, True], repeat=3):
        if chosen.keep_x or not whole:
            keep_z = not whole and (case.right_trains or not chosen.keep_x)
            found.append(Plan(forward, backward, chosen.keep_x, keep_z, whole))
    return found


def measure(case: Case, rounds: int, device: str) -> dict[str, object]:
    """Time all ways through one layer, interleaved."""
    torch.manual_seed(0)
    x = torch.randn(case.tokens, case.in_features, device=device).requires_grad_()
    W = torch.randn(case.out_features, case.in_features, device=device)
    left = torch.randn(case.out_features, case.rank, device=device).requires_grad_()
    right = torch.randn(case.rank, case.in_features, device=device).requires_grad_(case.right_trains)
    gy = torch.randn(case.tokens, case.out_features, device=device)
    wanted = [x, left, right] if case.right_trains else [x, left]

    def step(way: Plan) -> Callable[[], None]:
        def run() -> None:
            with mock.patch.object(operation, "plan", return_value=way):
                torch.autograd.grad(operation.adapted_linear(x, W, None, left, right), wanted, gy)

        return run

    seconds = interleaved_seconds({in_words(way): step(way) for way in ways(case)}, rounds)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    chosen, best = in_words(case.chosen()), min(medians, key=lambda name: medians[name])
    row = {**case._asdict(), "chosen": chosen, "best": best, "seconds": medians}
    return {**row, "over_best": medians[chosen] / medians[best]}


def in_words(way: Plan) -> str:
    forward, backward = ("fold" if folds else "thin" for folds in (way.fold_forward, way.fold_backward))
    return f"{forward} forward, {backward} backward, {'whole' if way.whole_gradient else 'thin'} gradients"


if __name__ == "__main__":
    main()
