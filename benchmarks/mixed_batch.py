"""Measure a batch of 64 rows that each have an adapter of their own, out of a bank, against the same with one adapter.

    python benchmarks/mixed_batch.py [--rounds 9] [--threads 1 2] [--only VeRA] [--parts texts peft decode]

Inference in float32 with adapters on query and value, on a CPU or the GPU that is there. The one adapter is on the
model as ``vxlab.attach`` puts it there, folded where that is cheaper; the many lie in a bank of 128, another 64 of them
in each round.

- ``texts``: MiniLM, 16 and 64 tokens a row; the rows are read from the bank within the time. 1 would be no cost at all.
- ``peft``: the same rows, and rows of one token, with 64 of PEFT's LoRA adapters named by ``adapter_names``; how many
  times longer it takes.
- ``decode``: SmolLM2, a prompt of 16 tokens a row (prefill, reading the bank) and, apart from it, one token a row
  with those 16 in its cache (decode, the bank's rows read before).

Writes benchmarks/results/mixed_batch.json; about 15 minutes on two idle cores.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import peft
import torch
from rounds import interleaved_seconds, ratio
from torch import Tensor, nn
from transformers import DynamicCache

import vxlab
from vxlab.experiments import describe_hardware, library_versions, resolve_device
from vxlab.experiments.costs import Step, random_batch

RESULTS = Path(__file__).parent / "results"
FAMILIES = {
    "LoRA r=8": vxlab.LoRA(rank=8),
    "VeRA r=256": vxlab.VeRA(rank=256),
    "LoRA-XS r=16": vxlab.LoRAXS(rank=16),
}
ROWS, IN_BANK = 64, 128
TOKENS = (16, 64)
PROMPT, STEPS = 16, 4
"""tokens of a prompt, and steps of one token in one timing"""
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="interleaved timings of each pair")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch on a CPU")
    parser.add_argument("--only", default="", help="measure the families whose name holds this")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    device = resolve_device("auto")
    families = {name: family for name, family in FAMILIES.items() if arguments.only in name}
    rows = []
    for threads in arguments.threads if device == "cpu" else [torch.get_num_threads()]:
        torch.set_num_threads(threads)
        for part in arguments.parts:
            for name, family in families.items():
                for row in PARTS[part](name, family, arguments.rounds, device):
                    rows.append({"threads": threads, **row})
                    print(in_words(rows[-1]), flush=True)
    result = {"hardware": describe_hardware(device), "versions": library_versions(), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "mixed_batch.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def texts(name: str, family: vxlab.LoRA, rounds: int, device: str) -> Iterator[Row]:
    """Yield how fast a mixed batch of texts is, one adapter's being 1."""
    single = vxlab.attach(loaded("minilm", device), family).eval()
    with served("minilm", family, device) as (bank, mixed):
        names = other_names()
        for tokens in TOKENS:
            batch = random_batch(single, ROWS, tokens)
            steps = {"single": partial(single, **batch), "mixed": partial(under, bank, names, partial(mixed, **batch))}
            yield row_of("texts", name, tokens, "single", "mixed", timed(steps, rounds))


def pefts(name: str, family: vxlab.LoRA, rounds: int, device: str) -> Iterator[Row]:
    """Yield how many times longer PEFT takes for a mixed batch of texts, with LoRA, of all these its only family."""
    if type(family) is not vxlab.LoRA:
        return
    theirs, own = peft_of_many(family.rank, device), [f"a{number}" for number in range(ROWS)]
    with served("minilm", family, device) as (bank, mixed):
        names = other_names()
        for tokens in (1, *TOKENS):
            batch = random_batch(mixed, ROWS, tokens)
            steps = {
                "peft": partial(theirs, **batch, adapter_names=own),
                "mixed": partial(under, bank, names, partial(mixed, **batch)),
            }
            yield row_of("peft", name, tokens, "peft", "mixed", timed(steps, rounds))


def decode(name: str, family: vxlab.LoRA, rounds: int, device: str) -> Iterator[Row]:
    """Yield how fast a mixed batch of prompts is, and the tokens after them, one adapter's being 1."""
    single = vxlab.attach(loaded("smollm2", device), family).eval()
    with served("smollm2", family, device) as (bank, mixed):
        names, prompts = other_names(), random_batch(single, ROWS, PROMPT)["input_ids"]
        steps = {
            "single": partial(prefill, single, prompts),
            "mixed": partial(under, bank, names, partial(prefill, mixed, prompts)),
        }
        yield row_of("prefill", name, PROMPT, "single", "mixed", timed(steps, rounds))
        with torch.no_grad(), bank.rows(next(names)):
            steps = {
                "single": partial(go_on, single, prompts, prefill(single, prompts)),
                "mixed": partial(go_on, mixed, prompts, prefill(mixed, prompts)),
            }
            yield row_of("decode", name, 1, "single", "mixed", timed(steps, rounds))


def prefill(model: nn.Module, prompts: Tensor) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    model(input_ids=prompts, past_key_values=cache, logits_to_keep=1)
    return cache


def go_on(model: nn.Module, prompts: Tensor, cache: DynamicCache) -> None:
    """Take a token a row, several times, and leave the cache as it was."""
    for _ in range(STEPS):
        model(input_ids=prompts[:, :1], past_key_values=cache)
    cache.crop(-STEPS)


def under(bank: vxlab.AdapterBank, names: Iterator[list[str]], step: Step) -> None:
    with bank.rows(next(names)):
        step()


@torch.no_grad()
def timed(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    return interleaved_seconds(steps, rounds, warm_ups=2)


def loaded(name: str, device: str) -> nn.Module:
    torch.manual_seed(0)
    return vxlab.load_model(name, 2 if name == "minilm" else 0).to(device, torch.float32).eval()


@contextmanager
def served(model: str, family: vxlab.LoRA, device: str) -> Iterator[tuple[vxlab.AdapterBank, nn.Module]]:
    """Yield a bank of synthetic adapters, random numbers of a trained one's size, and the model that it serves."""
    base, generator = loaded(model, device), torch.Generator().manual_seed(0)
    with (
        tempfile.TemporaryDirectory() as folder,
        vxlab.AdapterBank.create(Path(folder) / "bank", base, family) as bank,
    ):
        for number in range(IN_BANK):
            bank.add_many([f"a{number}"], 0.02 * torch.randn(1, bank.layout.width, generator=generator))
        yield bank, bank.attach(base)


def other_names() -> Iterator[list[str]]:
    """Yield different names for all rows, others each time."""
    draw = random.Random(0)
    while True:
        yield [f"a{number}" for number in draw.sample(range(IN_BANK), ROWS)]


def peft_of_many(rank: int, device: str) -> nn.Module:
    """Return MiniLM with a LoRA adapter of PEFT's for every row."""
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=["query", "value"], init_lora_weights=False)
    model = peft.get_peft_model(loaded("minilm", device), config, adapter_name="a0")
    for number in range(1, ROWS):
        model.add_adapter(f"a{number}", config)
    return model.eval()


def row_of(kind: str, family: str, tokens: int, above: str, below: str, seconds: dict[str, list[float]]) -> Row:
    found = ratio(seconds[above], seconds[below])._asdict()
    return {"kind": kind, "family": family, "rows": ROWS, "tokens": tokens, "ratio": found, "seconds": seconds}


def in_words(row: Row) -> str:
    found, milliseconds = (
        row["ratio"],
        {name: sorted(each)[len(each) // 2] * 1e3 for name, each in row["seconds"].items()},
    )
    told = ", ".join(f"{name} {each:.0f} ms" for name, each in milliseconds.items())
    return (
        f"{row['threads']} threads  {row['kind']:8} {row['family']:13} {row['tokens']:3} tokens a row  "
        f"{found['median']:.3f} [{found['low']:.3f}, {found['high']:.3f}]  {told}"
    )


PARTS = {"texts": texts, "peft": pefts, "decode": decode}

if __name__ == "__main__":
    main()
