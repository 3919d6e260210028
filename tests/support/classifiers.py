"""Tiny pretrained backbones of many architectures for text, each in a folder with a tokenizer of a few words."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from vxlab.experiments.models.files import quiet_transformers

WORDS = tuple(f"w{number}" for number in range(44))
TEXTS = ("w1 w2 w3", "w4 w5 w6 w7 w8 w9 w10 w11 w12", "w3", "w9 w8 w7 w6 w1 w2")
_BEGIN, _END, _UNKNOWN = 1, 2, 3
WIDTH = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_TEXT = {"vocab_size": 48, "bos_token_id": _BEGIN, "eos_token_id": _END, "max_position_embeddings": 24}
_PLAIN = {**_TEXT, **WIDTH}
_GROUPED = {**_PLAIN, "num_key_value_heads": 2}
_HEADS_OF_8 = {**_GROUPED, "head_dim": 8}
_GPT2 = {**_TEXT, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "n_positions": 24}
_BART = {
    **_TEXT, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
}  # fmt: skip
_T5 = {
    "vocab_size": 48, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
    "decoder_start_token_id": 0, "eos_token_id": _END,
}  # fmt: skip
_DISENTANGLED = {**_PLAIN, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}

ENCODERS: dict[str, dict[str, Any]] = {
    "albert": {**_PLAIN, "embedding_size": 16},
    "bert": _PLAIN,
    "deberta": _DISENTANGLED,
    "deberta-v2": _DISENTANGLED,
    "distilbert": {**_TEXT, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "modernbert": {**_PLAIN, "pad_token_id": 0, "cls_token_id": _BEGIN, "sep_token_id": _END},
    "mpnet": _PLAIN,
    "roberta": _PLAIN,
    "xlnet": {"vocab_size": 48, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
}
DECODERS: dict[str, dict[str, Any]] = {
    "bloom": {**_TEXT, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "diffllama": _GROUPED,
    "gemma3_text": _HEADS_OF_8,
    "gpt2": _GPT2,
    "gpt_neo": {**_TEXT, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]]},
    "llama": _GROUPED,
    "mistral": _GROUPED,
    "modernbert-decoder": {**_PLAIN, "pad_token_id": 0, "cls_token_id": _BEGIN, "sep_token_id": _END},
    "opt": {**_PLAIN, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "phi": _PLAIN,
    "phi3": {**_GROUPED, "pad_token_id": 0},
    "qwen3": _HEADS_OF_8,
}
BOTH: dict[str, dict[str, Any]] = {"bart": _BART, "mbart": _BART, "t5": _T5, "umt5": _T5}
CLASSIFIERS = {**ENCODERS, **DECODERS, **BOTH}


def tokenizer(pad: int = 7, side: str = "right", **settings: Any) -> PreTrainedTokenizerFast:
    """Return a tokenizer of 48 tokens that begins and ends every text, and pads with an id of one's choice."""
    special = {_BEGIN: "<s>", _END: "</s>", _UNKNOWN: "<unk>", pad: "<pad>"}
    words = iter(WORDS)
    vocabulary = {special.get(number) or next(words): number for number in range(48)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", _BEGIN), ("</s>", _END)]
    )
    named = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, padding_side=side, **named | settings)


def write_classifier(name: str, folder: Path, side: str = "right", **settings: Any) -> str:
    """Save a backbone, with weights that tell texts apart, and a tokenizer whose padding its config does not know."""
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(0)
        config = transformers.CONFIG_MAPPING[name](**CLASSIFIERS[name] | settings)
        save_backbone(AutoModelForSequenceClassification.from_config(config), folder)
    tokenizer(side=side).save_pretrained(folder)
    return str(folder)


def save_backbone(model: PreTrainedModel, folder: Path) -> None:
    """Save a classifier without its head, its matrices drawn wide."""
    with torch.no_grad():
        for parameter in model.base_model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.15)
    model.base_model.save_pretrained(folder)
