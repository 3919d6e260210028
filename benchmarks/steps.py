"""Measure a training step's time and kept activations against PEFT, the released LoRA-XS and the frozen model.

    python benchmarks/steps.py [--rounds 9] [--only SmolLM2]

On a CPU: BERT-base's width (768), two layers, float32, 2,048 and 8,192 tokens in sentences of 128, about 20 minutes on
two cores; and SmolLM2-135M as a language model, 512 and 2,048 tokens in texts of 512, float32 and bfloat16, about 5
minutes. Of SmolLM2 it takes 4 of the 30 layers and as small a share of the vocabulary, tied as there, so that layers
and output stand in the proportion of the whole model. On a GPU: RoBERTa-large's shape at 32 x 128 tokens and eight
Llama-7B layers at 4 x 512, bfloat16 autocast, with peak memory and kernels a step. Dropout is off, so that the layers
in question make up the step. Writes
benchmarks/results/steps_<device>.json.
"""

import argparse
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import peers
import peft
import torch
from rounds import interleaved_seconds, ratio
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

import vxlab
from vxlab.experiments import describe_hardware, library_versions
from vxlab.experiments.costs import (
    forward_loss,
    kernels,
    peak_bytes,
    random_batch,
    saved_activation_bytes,
    training_step,
)

RESULTS = Path(__file__).parent / "results"
SMOLLM2 = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
SMOLLM2_LAYERS, SMOLLM2_VOCABULARY = 30, 49_152
DROPOUT_OFF = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class Setting(NamedTuple):
    """A model, and the batches to put through it."""

    name: str
    kind: str
    build: Callable[[], nn.Module]
    batches: tuple[tuple[int, int], ...]
    precision: str


class Pair(NamedTuple):
    """Two models that compute the same kind of update."""

    name: str
    ours: Callable[[], nn.Module]
    peer: Callable[[], nn.Module]
    against_frozen: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="interleaved timings of each pair")
    parser.add_argument("--only", default="", help="measure the pairs whose name or model holds this")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = RESULTS / f"steps_{device}.json"
    for setting in settings(device):
        for pair in pairs(setting):
            wanted = arguments.only in pair.name or arguments.only in setting.name
            for batch_size, tokens in setting.batches if wanted else ():
                row = measure(setting, pair, batch_size, tokens, arguments.rounds, device)
                print(in_words(row), flush=True)
                keep(row, path, device)


def keep(row: dict[str, object], path: Path, device: str) -> None:
    """Put a row in the results file, in place of an earlier one of the same pair and batch."""
    same = ("model", "pair", "tokens", "precision")
    earlier = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    rows = [each for each in earlier if [each[key] for key in same] != [row[key] for key in same]]
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps({"rows": [*rows, row]}, indent=1) + "\n", encoding="utf-8")


def settings(device: str) -> list[Setting]:
    if device == "cpu":
        name = "SmolLM2, 4 of 30 layers and of its vocabulary"
        return [
            Setting("BERT-base width, 2 layers", "bert", bert(2), ((16, 128), (64, 128)), "float32"),
            *(
                Setting(name, "causal", smollm2(4, dtype), ((1, 512), (4, 512)), str(dtype).removeprefix("torch."))
                for dtype in (torch.float32, torch.bfloat16)
            ),
        ]
    large = bert(24, hidden_size=1024, num_attention_heads=16, intermediate_size=4096)
    return [
        Setting("RoBERTa-large's shape", "bert", large, ((32, 128),), "bfloat16"),
        Setting("8 layers of Llama-7B's shape", "llama", llama(8), ((4, 512),), "bfloat16"),
    ]


def bert(layers: int, **sizes: int) -> Callable[[], nn.Module]:
    config = BertConfig(num_hidden_layers=layers, vocab_size=1000, **DROPOUT_OFF, **sizes)
    return lambda: _seeded(BertForSequenceClassification, config)


def llama(layers: int) -> Callable[[], nn.Module]:
    config = LlamaConfig(num_hidden_layers=layers, vocab_size=1000, pad_token_id=0)  # its other defaults are the 7B's
    return lambda: _seeded(LlamaForSequenceClassification, config).bfloat16()


def smollm2(layers: int, dtype: torch.dtype) -> Callable[[], nn.Module]:
    vocabulary = SMOLLM2_VOCABULARY * layers // SMOLLM2_LAYERS
    config = LlamaConfig(num_hidden_layers=layers, vocab_size=vocabulary, **SMOLLM2)
    return lambda: _seeded(LlamaForCausalLM, config).to(dtype)


def pairs(setting: Setting) -> list[Pair]:
    build, roles = setting.build, peers.ROLES["bert" if setting.kind == "bert" else "llama"]
    head = {"bert": ["classifier"], "llama": ["score"], "causal": None}[setting.kind]

    def vera(rank: int) -> Pair:
        config = peft.VeraConfig(r=rank, target_modules=roles, modules_to_save=head)
        return Pair(
            f"VeRA r={rank} / PEFT",
            lambda: peers.ours(build, vxlab.VeRA(rank=rank)),
            lambda: peers.pefts(build, config),
        )

    config = peft.LoraConfig(r=8, lora_alpha=8, target_modules=roles, modules_to_save=head)
    lora = Pair(
        "LoRA r=8 / PEFT",
        lambda: peers.ours(build, vxlab.LoRA(rank=8)),
        lambda: peers.pefts(build, config),
    )
    frozen_a = Pair(
        "LoRA-FA r=8 / PEFT, A frozen",
        lambda: peers.ours(build, vxlab.LoRA(rank=8, trains="B")),
        lambda: peers.pefts_with_a_frozen(build, config),
    )
    if setting.kind == "causal":
        return [vera(256), lora, frozen_a]
    return [
        vera(256),
        vera(1024),
        lora,
        frozen_a,
        Pair(
            "LoRA-XS r=16 / released",
            lambda: peers.ours(build, vxlab.LoRAXS(rank=16, basis="random", sigma="none")),
            lambda: peers.released_lora_xs(build, 16),
        ),
        *(
            Pair(
                f"{name}, query-value / frozen",
                lambda family=family: peers.ours(build, family, "query-value"),
                lambda: peers.frozen(build),
                against_frozen=True,
            )
            for name, family in (("LoRA r=8", vxlab.LoRA(rank=8)), ("LoRA-XS r=16", vxlab.LoRAXS(rank=16)))
        ),
    ]


def measure(setting: Setting, pair: Pair, batch_size: int, tokens: int, rounds: int, device: str) -> dict[str, object]:
    """Time one pair on one batch, and count what either keeps beyond the frozen model."""
    models = {"ours": pair.ours().to(device), "peer": pair.peer().to(device)}
    batch = random_batch(models["ours"], batch_size, tokens)
    if setting.kind == "causal":
        batch["labels"] = batch["input_ids"]
    if pair.against_frozen:  # forward and backward alone, through all layers of both
        for model in models.values():
            peers.let_gradients_reach_the_embeddings(model)
    steps = {
        name: training_step(model, batch, None if pair.against_frozen else _adamw(model), setting.precision)
        for name, model in models.items()
    }
    seconds = interleaved_seconds(steps, rounds, warm_ups=2)
    row: dict[str, object] = {
        "model": setting.name,
        "pair": pair.name,
        "tokens": batch_size * tokens,
        "precision": setting.precision,
        "ratio": ratio(seconds["ours"], seconds["peer"])._asdict(),
        "seconds": seconds,
        "hardware": describe_hardware(device),
        "versions": {**library_versions(), "peft": peft.__version__},
    }
    if device == "cuda":
        row["peak_bytes_beyond_resident"] = {
            name: peak_bytes(step, torch.device(device)) for name, step in steps.items()
        }
        row["kernels"] = {name: kernels(step)[0] for name, step in steps.items()}
    if not pair.against_frozen:
        row["kept_bytes_beyond_frozen"] = kept_beyond_frozen(setting, models, batch, device)
    del models, steps
    gc.collect()
    peers.free_memory()
    return row


def kept_beyond_frozen(
    setting: Setting, models: dict[str, nn.Module], batch: dict[str, torch.Tensor], device: str
) -> dict[str, int]:
    """Count the activations that either model keeps beyond the frozen one, gradients reaching the embeddings in all."""
    bare = peers.frozen(setting.build).to(device)
    kept = {
        name: saved_activation_bytes(
            peers.let_gradients_reach_the_embeddings(model),
            lambda model=model: forward_loss(model, batch, setting.precision),
        )
        for name, model in {**models, "frozen": bare}.items()
    }
    return {name: kept[name] - kept["frozen"] for name in models}


def in_words(row: dict[str, object]) -> str:
    spread = row["ratio"]
    time = f"{spread['median']:.3f} [{spread['low']:.3f}, {spread['high']:.3f}]"
    line = f"{row['pair']:34} {row['tokens']:6,} tokens  {time}"
    if "kept_bytes_beyond_frozen" in row:
        kept = row["kept_bytes_beyond_frozen"]
        mine, theirs = (kept[name] / 2**20 for name in ("ours", "peer"))
        line += f"  keeps {mine:.1f} of {theirs:.1f} MiB = {mine / theirs:.3f}"
    if "kernels" in row:
        line += f"  kernels {row['kernels']}  peak {row['peak_bytes_beyond_resident']}"
    return line


def _seeded(model_class: type[nn.Module], config: object) -> nn.Module:
    torch.manual_seed(0)
    return model_class(config)


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)


if __name__ == "__main__":
    main()
