"""Measure stacked adapters against single ones: a training step of K at once, and a batch whose rows are all others'.

    python benchmarks/stacked.py [--rounds 9] [--threads 1 2] [--slots 8] [--only LoRA]

MiniLM with adapters on query and value, float32, in training mode, on a CPU or the GPU that is there. Training: one
step (forward, backward, AdamW) of K slots with the same number of texts each, against K steps of a single adapter one
after the other; above 1 stacking is the faster. Serving: 64 texts, each with an adapter of its own, against the same
texts with one adapter; 1 would be no cost at all. Writes benchmarks/results/stacked_<device>.json; about 20 minutes on
two idle cores.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from rounds import interleaved_seconds, ratio
from torch import Tensor, nn

import vxlab
from vxlab.adapters.stacked import stack_adapters
from vxlab.experiments import describe_hardware, library_versions, resolve_device
from vxlab.experiments.costs import Step, random_batch, training_step

RESULTS = Path(__file__).parent / "results"
FAMILIES = {
    "LoRA r=8": vxlab.LoRA(rank=8),
    "VeRA r=256": vxlab.VeRA(rank=256),
    "LoRA-XS r=16": vxlab.LoRAXS(rank=16),
}
BATCHES = ((8, 24), (16, 32), (32, 48))
"""texts of each slot, and tokens of each text"""
SERVED, SERVED_TOKENS = 64, (16, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="interleaved timings of each pair")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch on a CPU")
    parser.add_argument("--slots", type=int, default=8, help="adapters that train at once")
    parser.add_argument("--only", default="", help="measure the families whose name holds this")
    arguments = parser.parse_args()
    device = resolve_device("auto")
    families = {name: family for name, family in FAMILIES.items() if arguments.only in name}
    rows = []
    for threads in arguments.threads if device == "cpu" else [torch.get_num_threads()]:
        torch.set_num_threads(threads)
        for row in measure(families, arguments.slots, arguments.rounds, device):
            rows.append({"threads": threads, **row})
            print(in_words(rows[-1]), flush=True)
    result = {"hardware": describe_hardware(device), "versions": library_versions(), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"stacked_{device.partition(':')[0]}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure(families: dict[str, vxlab.LoRA], slots: int, rounds: int, device: str) -> Iterator[dict[str, object]]:
    """Yield a row for each family and batch."""
    for name, family in families.items():
        for texts, tokens in BATCHES:
            steps = training(family, slots, texts, tokens, device)
            yield row_of("training", name, slots, texts, tokens, interleaved_seconds(steps, rounds, warm_ups=2))
        for tokens in SERVED_TOKENS:
            steps = serving(family, tokens, device)
            yield row_of("serving", name, SERVED, 1, tokens, interleaved_seconds(steps, rounds, warm_ups=2))


def training(family: vxlab.LoRA, slots: int, texts: int, tokens: int, device: str) -> dict[str, Step]:
    """Return one stacked step, and as many single ones."""
    stack = stack_adapters(loaded(device), [family] * slots)
    single = vxlab.attach(loaded(device), family)
    whole, part = (random_batch(single, count * texts, tokens) for count in (slots, 1))
    optimizer = torch.optim.AdamW(stack.parameters().values(), lr=1e-4)
    at_once = training_step(stack.model.train(), whole, optimizer, loss=lambda *given: slots * mean_loss(*given))
    one = training_step(single.train(), part, adamw(single), loss=mean_loss)

    def in_turn() -> None:
        for _ in range(slots):
            one()

    return {"single": in_turn, "stacked": at_once}


def serving(family: vxlab.LoRA, tokens: int, device: str) -> dict[str, Step]:
    """Return a forward pass of texts with an adapter each, and one of the same with one adapter."""
    stack = stack_adapters(loaded(device), [family] * SERVED)
    single = vxlab.attach(loaded(device), family)
    batch = random_batch(single, SERVED, tokens)

    @torch.no_grad()
    def mixed() -> None:
        with stack.rows(range(SERVED, 0, -1)) as model:
            model(**batch)

    @torch.no_grad()
    def alone() -> None:
        single(**batch)

    return {"single": alone, "stacked": mixed}


def loaded(device: str) -> nn.Module:
    torch.manual_seed(0)
    return vxlab.load_model("minilm", 2).to(device)


def mean_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return model(**batch).loss


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-4)


def row_of(
    kind: str, name: str, slots: int, texts: int, tokens: int, seconds: dict[str, list[float]]
) -> dict[str, object]:
    times_faster = ratio(seconds["single"], seconds["stacked"])._asdict()
    settings = {"kind": kind, "family": name, "slots": slots, "texts_of_each": texts, "tokens_of_each": tokens}
    return {**settings, "times_faster": times_faster, "seconds": seconds}


def in_words(row: dict[str, object]) -> str:
    faster = row["times_faster"]
    return (
        f"{row['threads']} threads  {row['kind']:8} {row['family']:13} {row['slots']:3} slots, {row['texts_of_each']:2}"
        f" x {row['tokens_of_each']} each  {faster['median']:.3f} [{faster['low']:.3f}, {faster['high']:.3f}]"
    )


if __name__ == "__main__":
    main()
