"""Time training steps on quantised bases against the peft library's adapters on the same.

    python benchmarks/quantised.py [--rounds 9] [--schemes nf4,int8] [--only VeRA]

A row a scheme, pair and number of tokens: the median ratio of step times, ours / theirs, over rounds that visit both in
turn, with its quartiles. The base is SmolLM2's shape with random weights, quantised by transformers as users have it;
peft is given it as it is, vxlab keeps its layers from repacking. LoRA-XS, which peft has not, is held against its LoRA.
Writes benchmarks/results/quantised_<device>.json.
"""

import argparse
import functools
import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers
import peft
import torch
from rounds import interleaved_seconds, ratio
from steps import RESULTS, keep, smollm2
from torch import nn
from transformers import BitsAndBytesConfig, LlamaForCausalLM, TorchAoConfig

import vxlab
from vxlab.adapters.core import Family
from vxlab.experiments import describe_hardware, library_versions
from vxlab.experiments.costs import random_batch, training_step

SCHEMES = ("nf4", "int8", "torchao-int8")
BATCHES = ((1, 512), (4, 512))
LAYERS = {"cpu": 4, "cuda": 30}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="interleaved timings of each pair")
    parser.add_argument("--schemes", default=",".join(SCHEMES), help="quantisations, by name")
    parser.add_argument("--only", default="", help="measure the pairs whose name holds this")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for scheme in arguments.schemes.split(","):
        for name, (family, config) in pairs().items():
            for batch in BATCHES if arguments.only in name else ():
                row = measure(scheme, name, family, config, batch, arguments.rounds, device)
                keep(row, RESULTS / f"quantised_{device}.json", device)
                spread: Any = row["ratio"]
                low, high = spread["low"], spread["high"]
                print(
                    f"{scheme:13} {name:28} {row['tokens']:6,} tokens  {spread['median']:.3f} [{low:.3f}, {high:.3f}]"
                )


def pairs() -> dict[str, tuple[Family, peft.PeftConfig]]:
    """Return our family and peft's config, by what the pair is called."""
    roles = peers.ROLES["llama"]
    lora = peft.LoraConfig(r=8, lora_alpha=8, target_modules=roles)
    return {
        "LoRA r=8 / PEFT": (vxlab.LoRA(rank=8), lora),
        "VeRA r=256 / PEFT": (vxlab.VeRA(rank=256), peft.VeraConfig(r=256, target_modules=roles)),
        "LoRA-XS r=16 / PEFT LoRA r=8": (vxlab.LoRAXS(rank=16, basis="random", sigma="none"), lora),
    }


def measure(
    scheme: str, name: str, family: Family, config: peft.PeftConfig, batch: tuple[int, int], rounds: int, device: str
) -> dict[str, object]:
    """Time one pair on one batch."""
    build = functools.partial(quantised, scheme, device)
    models = {"ours": peers.ours(build, family), "peer": peers.pefts(build, config)}
    given = random_batch(models["ours"], *batch)
    precision = "bfloat16" if device == "cuda" else "float32"
    steps = {key: training_step(model, given, _adamw(model), precision) for key, model in models.items()}
    seconds = interleaved_seconds(steps, rounds, warm_ups=2)
    row: dict[str, object] = {
        "model": f"SmolLM2, {LAYERS[device]} of 30 layers, {scheme}",
        "pair": name,
        "tokens": batch[0] * batch[1],
        "precision": precision,
        "ratio": ratio(seconds["ours"], seconds["peer"])._asdict(),
        "seconds": seconds,
        "hardware": describe_hardware(device),
        "versions": {**library_versions(), "peft": peft.__version__},
    }
    del models, steps
    gc.collect()
    peers.free_memory()
    return row


def quantised(scheme: str, device: str) -> nn.Module:
    """Return SmolLM2's shape, quantised as transformers loads it."""
    with tempfile.TemporaryDirectory() as folder:
        _written(smollm2(LAYERS[device], torch.float32), folder)
        return LlamaForCausalLM.from_pretrained(
            folder, dtype=torch.float32, quantization_config=_config(scheme), device_map={"": device}
        )


def _written(build: Callable[[], nn.Module], folder: str) -> Path:
    model: Any = build()
    model.save_pretrained(folder)
    return Path(folder)


def _config(scheme: str) -> BitsAndBytesConfig | TorchAoConfig:
    if scheme == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
    if scheme == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    from torchao.quantization import Int8WeightOnlyConfig

    return TorchAoConfig(Int8WeightOnlyConfig())


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-4)


if __name__ == "__main__":
    main()
