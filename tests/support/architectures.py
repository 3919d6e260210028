"""Tiny models of every architecture the adapters know, and the names of their layers.

Built from configs, without a download: width 32, two blocks, rectangular MLPs.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from places import SUPPORT
from transformers import PreTrainedModel

VOCABULARY = 64
IMAGE_SIZE = 16
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
TEXT = {**SIZES, "vocab_size": VOCABULARY}
ENDS = {"bos_token_id": 1, "eos_token_id": 2}  # some defaults are outside this small vocabulary
IMAGE = {**SIZES, "image_size": IMAGE_SIZE, "patch_size": 8}
GROUPED = {**TEXT, **ENDS, "num_key_value_heads": 2, "pad_token_id": 0}  # key and value are (16, 32)
DISENTANGLED = {**TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
GPT2 = {**ENDS, "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "pad_token_id": 0}
DISTILBERT = {"vocab_size": VOCABULARY, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
DINOV2 = {**IMAGE, "mlp_ratio": 2}  # its MLP width is 2·32; SwiGLU makes it 48
CLIP_TEXT = {**TEXT, **ENDS, "max_position_embeddings": 16}
CLIP = {"text_config": CLIP_TEXT, "vision_config": IMAGE, "projection_dim": 16}


def _build(model_class: str, config_class: str, settings: dict[str, Any]) -> Callable[[], PreTrainedModel]:
    def build() -> PreTrainedModel:
        config = getattr(transformers, config_class)(**settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: PreTrainedModel = getattr(transformers, model_class)(config)
        return model.eval()

    return build


# Each call builds a fresh model in evaluation mode, with the same weights every time.
ARCHITECTURES: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": _build("BertForSequenceClassification", "BertConfig", TEXT),
    "roberta": _build("RobertaForSequenceClassification", "RobertaConfig", TEXT),
    "mpnet": _build("MPNetForSequenceClassification", "MPNetConfig", TEXT),
    "distilbert": _build("DistilBertForSequenceClassification", "DistilBertConfig", DISTILBERT),
    "deberta": _build("DebertaForSequenceClassification", "DebertaConfig", DISENTANGLED),
    "deberta-v2": _build("DebertaV2ForSequenceClassification", "DebertaV2Config", DISENTANGLED),
    "gpt2": _build("GPT2ForSequenceClassification", "GPT2Config", GPT2),
    "gpt2-lm": _build("GPT2LMHeadModel", "GPT2Config", GPT2),
    "llama": _build("LlamaForSequenceClassification", "LlamaConfig", GROUPED),
    "llama-lm": _build("LlamaForCausalLM", "LlamaConfig", {**GROUPED, "tie_word_embeddings": True}),  # as SmolLM2
    "mistral": _build("MistralForCausalLM", "MistralConfig", GROUPED),
    "qwen2": _build("Qwen2ForCausalLM", "Qwen2Config", GROUPED),
    "qwen3": _build("Qwen3ForCausalLM", "Qwen3Config", {**GROUPED, "head_dim": 8}),
    "gemma": _build("GemmaForCausalLM", "GemmaConfig", {**GROUPED, "head_dim": 8}),
    "gemma2": _build("Gemma2ForCausalLM", "Gemma2Config", {**GROUPED, "head_dim": 8}),
    "gemma3": _build("Gemma3ForCausalLM", "Gemma3TextConfig", {**GROUPED, "head_dim": 8}),
    "phi3": _build("Phi3ForCausalLM", "Phi3Config", GROUPED),
    "vit": _build("ViTForImageClassification", "ViTConfig", IMAGE),
    "deit": _build("DeiTForImageClassification", "DeiTConfig", IMAGE),
    "dinov2": _build("Dinov2ForImageClassification", "Dinov2Config", DINOV2),
    "dinov2-swiglu": _build("Dinov2ForImageClassification", "Dinov2Config", {**DINOV2, "use_swiglu_ffn": True}),
    "clip": _build("CLIPForImageClassification", "CLIPConfig", CLIP),
}
_READS_IMAGES = {"vit", "deit", "dinov2", "dinov2-swiglu", "clip"}


def inputs(name: str) -> dict[str, torch.Tensor]:
    """Return a batch of two for the model `name`: seven tokens, the second text padded, or images; always the same."""
    generator = torch.Generator().manual_seed(1)
    if name in _READS_IMAGES:
        return {"pixel_values": torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)}
    tokens = torch.randint(3, VOCABULARY, (2, 7), generator=generator)
    mask = torch.ones_like(tokens)
    mask[1, 5:] = 0
    pad = 1 if name in {"roberta", "mpnet"} else 0
    return {"input_ids": tokens.masked_fill(mask == 0, pad), "attention_mask": mask}


_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention-output": "attention.output.dense",
    "up": "intermediate.dense",
    "down": "output.dense",
}
_GPT2 = {
    "fused-qkv": "attn.c_attn",
    "attention-output": "attn.c_proj",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
}
_LLAMA = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention-output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_VIT = {
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "attention-output": "attention.o_proj",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
}
_SWIGLU = {"gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"}
_CLIP = {
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "query": "self_attn.q_proj",
    "attention-output": "self_attn.out_proj",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
}
_DEBERTA = {
    "fused-qkv": "attention.self.in_proj",
    "attention-output": "attention.output.dense",
    "up": "intermediate.dense",
    "down": "output.dense",
}
_DEBERTA_V2 = {
    **_BERT,
    "query": "attention.self.query_proj",
    "key": "attention.self.key_proj",
    "value": "attention.self.value_proj",
}
_MPNET = {
    **_BERT,
    "query": "attention.attn.q",
    "key": "attention.attn.k",
    "value": "attention.attn.v",
    "attention-output": "attention.attn.o",
}
_DISTILBERT = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attention-output": "attention.out_lin",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
}
_PHI3 = {
    "fused-qkv": "self_attn.qkv_proj",
    "attention-output": "self_attn.o_proj",
    "fused-gate-up": "mlp.gate_up_proj",
    "down": "mlp.down_proj",
}
# The path to each architecture's blocks and, in one block, the layer of every role it has; written by hand.
LAYERS = {
    "bert": ("bert.encoder.layer", _BERT),
    "roberta": ("roberta.encoder.layer", _BERT),
    "mpnet": ("mpnet.encoder.layer", _MPNET),
    "distilbert": ("distilbert.transformer.layer", _DISTILBERT),
    "deberta": ("deberta.encoder.layer", _DEBERTA),
    "deberta-v2": ("deberta.encoder.layer", _DEBERTA_V2),
    "gpt2": ("transformer.h", _GPT2),
    "gpt2-lm": ("transformer.h", _GPT2),
    **dict.fromkeys(
        ("llama", "llama-lm", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"), ("model.layers", _LLAMA)
    ),
    "phi3": ("model.layers", _PHI3),
    "vit": ("vit.layers", _VIT),
    "deit": ("deit.layers", _VIT),
    "dinov2": ("dinov2.encoder.layer", _VIT),
    "dinov2-swiglu": ("dinov2.encoder.layer", _VIT | _SWIGLU),
    "clip": ("vision_model.encoder.layers", _CLIP),
}
# The layers of each task head; a language model's output layer is no task head.
HEADS = {
    **dict.fromkeys(("bert", "vit", "deit", "dinov2", "dinov2-swiglu", "clip"), ("classifier",)),
    **dict.fromkeys(("roberta", "mpnet"), ("classifier.dense", "classifier.out_proj")),
    "distilbert": ("pre_classifier", "classifier"),
    **dict.fromkeys(("deberta", "deberta-v2"), ("pooler.dense", "classifier")),
    **dict.fromkeys(("gpt2", "llama"), ("score",)),
    **dict.fromkeys(("gpt2-lm", "llama-lm", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3"), ()),
}


def loaded_in_a_new_process(folders: Sequence[Path], name: str = "bert") -> list[str]:
    """Return the logits' bytes, in hexadecimal, of a model with each folder's adapter, as another process has them."""
    program = (
        "import sys, torch, vxlab; sys.path.insert(0, sys.argv[1])\n"
        "from architectures import ARCHITECTURES, inputs\n"
        "name, *folders = sys.argv[2:]\n"
        "for folder in folders:\n"
        "    model = vxlab.load_adapter(ARCHITECTURES[name](), folder).eval()\n"
        "    with torch.no_grad(): print(model(**inputs(name)).logits.numpy().tobytes().hex())\n"
    )
    command = [sys.executable, "-c", program, str(SUPPORT), name, *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
