"""torch.compile on four layers of RoBERTa-large's shape: graph breaks, gradients against eager, and time against it."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any
from unittest import mock

import peers
import peft
import stand_ins
import torch
from gpu_steps import DROPOUT_OFF
from rounds import interleaved_seconds
from torch import Tensor, nn
from transformers import RobertaForSequenceClassification

import vxlab
from vxlab.adapters.core import Family
from vxlab.adapters.families import lora_xs
from vxlab.experiments.costs import kernels, random_batch, training_step

LAYERS = 4


def cases(device: str, tiny: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    families = {"LoRA": (2, 8), "VeRA": (4, 256), "LoRA-XS": (2, 16)}
    made: dict[str, Callable[..., Family]] = {"LoRA": vxlab.LoRA, "VeRA": vxlab.VeRA, "LoRA-XS": vxlab.LoRAXS}
    chosen = {name: made[name](rank=ranks[not tiny]) for name, ranks in families.items()}
    if tiny:
        return {"LoRA r=2": partial(compare, chosen["LoRA"], device, tiny)}
    ours = {f"{name} r={family.rank}": partial(compare, family, device, tiny) for name, family in chosen.items()}
    return {**ours, "LoRA r=8, PEFT": partial(compare, None, device, tiny)}


def compare(family: Family | None, device: str, tiny: bool) -> dict[str, Any]:
    """Return compiled and eager step times in bfloat16, the seconds of compiling, and the gradients' difference.

    Where no family is given, of PEFT's LoRA.
    """
    model = _model(family, device, tiny)
    batch = random_batch(model, *((2, 8) if tiny else (32, 128)))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0)  # the weights stay, for both to compute the same
    step = training_step(model, batch, optimizer, "bfloat16")
    rounds = 2 if tiny else 10
    eager = median(interleaved_seconds({"eager": step}, rounds, warm_ups=2)["eager"])
    expected, count = _gradients(trained), kernels(step)[0]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model.compile(backend="aot_eager" if tiny else "inductor")
    started = time.perf_counter()
    step()
    compiling = time.perf_counter() - started
    compiled = median(interleaved_seconds({"compiled": step}, rounds, warm_ups=2)["compiled"])
    difference = _difference(_gradients(trained), expected)
    breaks = dict(torch._dynamo.utils.counters["graph_break"])
    return {
        "ok": not breaks and difference < 5e-2,
        "eager_seconds": eager,
        "compiled_seconds": compiled,
        "compiling_seconds": compiling,
        "kernels": {"eager": count, "compiled": kernels(step)[0]},
        "graph_breaks": {str(reason)[:200]: number for reason, number in breaks.items()},
        "gradients_differ": difference,
    }


def _model(family: Family | None, device: str, tiny: bool) -> nn.Module:
    sizes = {} if tiny else {"num_hidden_layers": LAYERS}
    config = stand_ins.roberta("FacebookAI/roberta-large", tiny, **DROPOUT_OFF, **sizes)
    build = partial(stand_ins.build, RobertaForSequenceClassification, config, device)
    if family is None:
        config = peft.LoraConfig(r=8, target_modules=peers.ROLES["bert"], modules_to_save=["classifier"])
        return peers.pefts(build, config).to(device)
    with mock.patch.object(lora_xs, "singular_triplets", stand_ins.quick_bases):
        model = peers.ours(build, family)
    with torch.no_grad():
        for layer in vxlab.adapted_layers(model).values():
            for tensor in layer.trained_tensors().values():
                tensor.normal_(std=0.02)
    return model


def _gradients(trained: list[nn.Parameter]) -> Tensor:
    return torch.cat([p.grad.flatten() for p in trained if p.grad is not None] or [torch.ones(1)]).clone()


def _difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
