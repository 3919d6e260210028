"""What a training step costs in bfloat16, of every family and its peer, on a model of RoBERTa-large's shape and a 7B's.

Each is measured alone, with AdamW: seconds (the median of steps, by the GPU's clock), peak memory, and kernels.
LoRA-XS gets random orthonormal bases here, for a step's time does not depend on their values.
"""

from collections.abc import Callable
from functools import partial
from statistics import median, quantiles
from typing import Any, NamedTuple
from unittest import mock

import peers
import peft
import stand_ins
import torch
from rounds import interleaved_seconds
from torch import nn
from transformers import LlamaForSequenceClassification, RobertaForSequenceClassification

import vxlab
from vxlab.adapters.families import lora_xs
from vxlab.experiments.costs import kernels, peak_bytes, random_batch, training_step

DROPOUT_OFF = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LLAMA_LAYERS = 6
"""Of the 7B's 32: a step's parts are the same in each."""


class Shape(NamedTuple):
    """A model, and the batch to put through it."""

    name: str
    build: Callable[[], nn.Module]
    roles: list[str]
    head: str
    batch: tuple[int, int]
    """texts, and tokens of each"""


def shapes(device: str, tiny: bool) -> list[Shape]:
    large = stand_ins.roberta("FacebookAI/roberta-large", tiny, **DROPOUT_OFF)
    seven = stand_ins.llama(2 if tiny else LLAMA_LAYERS, tiny)
    roberta = partial(stand_ins.build, RobertaForSequenceClassification, large, device)
    llama = partial(stand_ins.build, LlamaForSequenceClassification, seven, device, torch.bfloat16)
    bert, decoder = (peers.ROLES[kind] for kind in ("bert", "llama"))
    if tiny:
        return [
            Shape("RoBERTa-large 2 x 8", roberta, bert, "classifier", (2, 8)),
            Shape("Llama-7B 2 x 8", llama, decoder, "score", (2, 8)),
        ]
    return [
        Shape("RoBERTa-large 32 x 128", roberta, bert, "classifier", (32, 128)),
        Shape(f"{LLAMA_LAYERS} layers of Llama-7B 4 x 512", llama, decoder, "score", (4, 512)),
        Shape("RoBERTa-large 16 x 512", roberta, bert, "classifier", (16, 512)),
    ]


def contestants(shape: Shape, tiny: bool = False) -> dict[str, Callable[[], nn.Module]]:
    """Return what builds each model to be measured, ours and the peers', by name."""
    ours = partial(peers.ours, shape.build)
    theirs = partial(peers.pefts, shape.build)
    wide, wider, core, aux = (4, 8, 2, 4) if tiny else (256, 1024, 16, 100)
    given: dict[str, Any] = {"target_modules": shape.roles, "modules_to_save": [shape.head]}
    return {
        "frozen": lambda: peers.let_gradients_reach_the_embeddings(peers.frozen(shape.build)),
        "LoRA r=8": lambda: ours(vxlab.LoRA(rank=8)),
        "LoRA r=8, PEFT": lambda: theirs(peft.LoraConfig(r=8, lora_alpha=8, **given)),
        f"VeRA r={wide}": lambda: ours(vxlab.VeRA(rank=wide)),
        f"VeRA r={wide}, PEFT": lambda: theirs(peft.VeraConfig(r=wide, **given)),
        f"VeRA r={wider}": lambda: ours(vxlab.VeRA(rank=wider)),
        f"VeRA r={wider}, PEFT": lambda: theirs(peft.VeraConfig(r=wider, **given)),
        f"LoRA-XS r={core}": lambda: ours(vxlab.LoRAXS(rank=core)),
        f"LoRA-XS r={core}, released": lambda: peers.released_lora_xs(shape.build, core),
        "LiDB": lambda: ours(vxlab.LiDB(aux_out=aux, aux_in=min(aux, 50))),
        "head": lambda: ours(vxlab.Head()),
        "full": lambda: ours(vxlab.Full()),
    }


def cases(device: str, tiny: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    return {
        f"{shape.name} | {name}": partial(measure, shape, model, device, tiny)
        for shape in shapes(device, tiny)
        for name, model in contestants(shape, tiny).items()
    }


def measure(shape: Shape, build: Callable[[], nn.Module], device: str, tiny: bool) -> dict[str, Any]:
    with mock.patch.object(lora_xs, "singular_triplets", stand_ins.quick_bases):
        model = build().to(device)
    batch = random_batch(model, *shape.batch)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5) if trained else None
    step = training_step(model, batch, optimizer, "bfloat16")
    seconds = interleaved_seconds({"step": step}, rounds=2 if tiny else 10, warm_ups=1 if tiny else 3)["step"]
    if device == "cuda":
        resident = torch.cuda.memory_allocated()
    else:
        resident = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    beyond = peak_bytes(step, torch.device(device))
    count, running = kernels(step)
    low, _, high = quantiles(seconds, n=4)
    return {
        "step_seconds": median(seconds),
        "quartiles": [low, high],
        "tokens_a_second": shape.batch[0] * shape.batch[1] / median(seconds),
        "peak_bytes": resident + beyond,
        "kernels": count,
        "kernel_seconds": running,
        "trained": sum(parameter.numel() for parameter in trained),
    }
