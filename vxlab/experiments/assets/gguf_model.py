"""Turn a GGUF file into the folder that transformers loads: weights in bfloat16, config and tokenizer."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vxlab.errors import VxlabError
from vxlab.experiments.assets.gguf_tokenizer import describe_tokenizer
from vxlab.experiments.assets.model_folder import write_model_folder
from vxlab.progress import progress_bar

_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_READ = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "vocab_size": "vocab_size",
}
_ROPE_BASE, _ROPE_DIMENSIONS = "rope.freq_base", "rope.dimension_count"


def convert_gguf(path: Path, folder: Path, title: str) -> None:
    """Write the model in a GGUF file as config.json, model.safetensors, tokenizer.json and tokenizer_config.json.

    Quantised tensors are taken at the values that the file gives them, rounded to bfloat16: what the quantisation has
    lost stays lost. No library's version is written, so that the same file becomes the same bytes everywhere.

    Args:
        path: a model of the Llama architecture whose embeddings are tied, with a byte-level BPE tokenizer.
        folder: where the files are written; it exists.
        title: the label of the progress bar.

    Raises:
        VxlabError: the file is cut short, or holds what would not be carried over.
        OSError: the disk refuses.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:  # what a file cut short may raise
        raise VxlabError(f"{path.name} is no whole GGUF file: {error}") from error
    tokenizer, tokenizer_config = describe_tokenizer(path.name, fields)
    config = _describe_model(path.name, fields)
    texts = {"config": config, "tokenizer": tokenizer, "tokenizer_config": tokenizer_config}
    write_model_folder(folder, texts, _read_weights(path.name, reader, config, title))


def _describe_model(file: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a Llama model; what it says nothing of is refused, not passed over."""
    if (architecture := fields.get("general.architecture")) != "llama":
        raise VxlabError(f"{file} holds a model of architecture {architecture!r}; only 'llama' can be converted")
    stated = {name.removeprefix("llama."): fields[name] for name in fields if name.startswith("llama.")}
    wanted = {*_READ, _ROPE_BASE, _ROPE_DIMENSIONS}
    if odd := sorted(wanted ^ stated.keys()):
        what = "lacks" if odd[0] in wanted else "states"
        raise VxlabError(f"{file} {what} llama.{odd[0]}, so it cannot be converted; it needs just {sorted(wanted)}")
    config = {ours: _shorten(stated[theirs]) for theirs, ours in _READ.items()}
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    if stated[_ROPE_DIMENSIONS] != head_dim:
        raise VxlabError(f"{file} rotates {stated[_ROPE_DIMENSIONS]} of a head's {head_dim} dimensions; it must be all")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        **config,
        "hidden_act": "silu",
        "head_dim": head_dim,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_theta": _shorten(stated[_ROPE_BASE]), "rope_type": "default"},
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
    }


def _shorten(value: Any) -> Any:
    """Return a float32 as the shortest decimal that means it, which is what was saved: 1e-05, not 9.9999997e-06."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _read_weights(file: str, reader: Any, config: Mapping[str, Any], title: str) -> dict[str, Tensor]:
    from gguf import dequantize

    weights = {}
    with progress_bar(len(reader.tensors), title, "tensor") as bar:
        for tensor in reader.tensors:
            values = torch.tensor(dequantize(tensor.data, tensor.tensor_type))  # a copy: the file is closed after
            if kind := re.fullmatch(r"blk\.\d+\.attn_([qk])\.weight", tensor.name):
                heads = config["num_attention_heads" if kind[1] == "q" else "num_key_value_heads"]
                values = _pair_halves(values, heads)
            weights[_their_name(file, tensor.name)] = values.to(torch.bfloat16).contiguous()
            bar.update()
    _require_all(file, weights.keys(), config["num_hidden_layers"])
    return weights


def _pair_halves(weight: Tensor, heads: int) -> Tensor:
    """Reorder a head's rows from rotated neighbours (0, 1), (2, 3), ... to transformers' halves (0, d/2), (1, 1 + d/2).

    weight: ``(heads * d, in)``, the projection to queries or keys.
    """
    return weight.reshape(heads, -1, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def _their_name(file: str, name: str) -> str:
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if layer and layer[2] in _IN_LAYER:
        return f"model.layers.{layer[1]}.{_IN_LAYER[layer[2]]}.weight"
    if (outer := name.removesuffix(".weight")) in _OUTER:
        return f"{_OUTER[outer]}.weight"
    raise VxlabError(f"{file} holds {name}, which no tensor of a Llama model with tied embeddings is")


def _require_all(file: str, names: Any, layers: int) -> None:
    wanted = {f"{name}.weight" for name in _OUTER.values()}
    wanted |= {f"model.layers.{i}.{name}.weight" for i in range(layers) for name in _IN_LAYER.values()}
    if odd := sorted(wanted ^ set(names)):
        raise VxlabError(f"{file} holds tensors that do not make {layers} layers: look at {odd[0]}")
