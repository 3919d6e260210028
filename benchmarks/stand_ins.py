"""Models of the papers' true shapes with random weights, and GLUE tasks of random words: no download, no licence."""

import csv
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, LlamaConfig, PretrainedConfig, PreTrainedModel, RobertaConfig

from vxlab.spectra import Triplets

WORDS = tuple(f"{first}{second}" for first in "bdfgklmnprst" for second in ("a", "en", "il", "or", "um"))
"""Each is one token of the stand-in tokenizer."""
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")

_ROBERTA: dict[str, dict[str, int]] = {
    "FacebookAI/roberta-base": {},
    "FacebookAI/roberta-large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}
_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def roberta(name: str, tiny: bool = False, **changes: Any) -> RobertaConfig:
    """Return the config of RoBERTa-base or -large as the hub has it; ``tiny`` keeps all but its widths and depth."""
    own = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    return RobertaConfig(**own | _ROBERTA[name] | (_TINY if tiny else {}) | changes)


def llama(layers: int, tiny: bool = False, **changes: Any) -> LlamaConfig:
    """Return the config of Llama-2-7B's first layers, its vocabulary cut to 1,000."""
    sizes = _TINY if tiny else {}  # transformers' defaults are the 7B's
    return LlamaConfig(**sizes | {"num_hidden_layers": layers, "vocab_size": 1000, "pad_token_id": 0} | changes)


def build(
    model_class: Callable[[Any], PreTrainedModel],
    config: PretrainedConfig,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PreTrainedModel:
    """Return a model with random weights, drawn where they are to be: on a GPU in no time."""
    torch.manual_seed(0)
    with torch.device(device):
        model = model_class(config)
    return model.to(dtype)


def write_model(folder: Path, name: str, tiny: bool = False) -> str:
    """Write RoBERTa's config, random weights as the hub has them (of a language model, with its head), a tokenizer."""
    from transformers import RobertaForMaskedLM

    build(RobertaForMaskedLM, roberta(name, tiny)).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return str(folder)


def gpt2_medium(tiny: bool = False) -> GPT2Config:
    """Return the config of GPT-2 medium as the hub has it; ``tiny`` keeps all but its widths and depth."""
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4} if tiny else {"n_embd": 1024, "n_layer": 24, "n_head": 16}
    return GPT2Config(**sizes)


def write_writer(folder: Path, tiny: bool = False) -> str:
    """Write GPT-2 medium's config, random weights and a tokenizer."""
    from transformers import GPT2LMHeadModel

    build(GPT2LMHeadModel, gpt2_medium(tiny)).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return str(folder)


def write_e2e(folder: Path, rows: int, seed: int = 0) -> str:
    """Write trainset.csv, devset.csv and testset_w_refs.csv in the E2E challenge's layout, two references an input."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    for name, count in (("trainset", rows), ("devset", 16), ("testset_w_refs", 16)):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            written = csv.writer(file)
            written.writerow(("mr", "ref"))
            for number in range(count):
                facts = f"{name} {number // 2} {' '.join(draw.choices(WORDS, k=8))}"
                written.writerow((facts, " ".join(draw.choices(WORDS, k=12))))
    return str(folder)


def write_glue(folder: Path, task: str, rows: int, longest: int, seed: int = 0) -> str:
    """Write train.tsv and dev.tsv of a GLUE task, in GLUE's own layout.

    Args:
        folder: GLUE's own, in which the task gets one.
        task: its short name.
        rows: of train, short ones; dev has an eighth of them.
        longest: words of each dev text.
    """
    from vxlab.experiments.tasks import GLUE_TASKS

    glue, draw = GLUE_TASKS[task], random.Random(seed)
    header = glue.tsv_header or (*(glue.tsv_text or glue.text), glue.tsv_label)
    own = folder / glue.folder
    own.mkdir(parents=True)
    for name, count, words in (("train", rows, 5), ("dev", max(8, rows // 8), longest)):
        lines = [_line(header, glue.tsv_label, glue.classes, number, words, draw) for number in range(count)]
        with (own / f"{name}.tsv").open("w", newline="", encoding="utf-8") as file:
            written = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            written.writerows([*([] if glue.tsv_header else [header]), *lines])
    return str(folder)


def quick_bases(weights: dict[str, Tensor], rank: int, band: str = "top") -> dict[str, Triplets]:
    """Return random orthonormal directions, on the weights' device, in place of their singular vectors."""

    def directions(n: int, like: Tensor) -> Tensor:
        return torch.linalg.qr(torch.randn(n, rank, device=like.device)).Q

    return {
        name: Triplets(directions(W.shape[0], W), torch.ones(rank, device=W.device), directions(W.shape[1], W).T)
        for name, W in weights.items()
    }


def _line(
    header: Sequence[str], label: str, classes: Sequence[str], number: int, words: int, draw: random.Random
) -> list[str]:
    # Class names where the files have them, as RTE and QNLI do; else ids; a score from 0 to 5 where there are none.
    named = classes and "entailment" in classes
    value = (classes[number % 2] if named else str(number % 2)) if classes else f"{number % 6:.1f}"
    return [value if column == label else " ".join(draw.choices(WORDS, k=words)) for column in header]


def _tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import RobertaProcessing
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(WordLevel({word: i for i, word in enumerate((*SPECIAL, *WORDS))}, unk_token="<unk>"))
    plain.pre_tokenizer = Whitespace()
    plain.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    names |= {"cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=plain, model_max_length=512, **names)
