"""What a layer does in its transformer block, read from the layer's name."""

from collections.abc import Mapping
from types import MappingProxyType

ROLES = ("query", "key", "value", "fused-qkv", "attention-output", "up", "gate", "down", "fused-gate-up")

# A fused layer makes query, key and value (or gate and up) with one weight: it is in every set that wants a part.
_MLP = ("up", "gate", "down", "fused-gate-up")
TARGET_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "query-value": ("query", "value", "fused-qkv"),
        "attention": ("query", "key", "value", "fused-qkv", "attention-output"),
        "mlp": _MLP,
        "all-linear": (),  # by place, not by role: every linear layer inside the backbone's repeated blocks
        # LoRA-XS's paper adapts query, value, attention output and the first MLP layer (FC1) ...
        "lora-xs-paper": ("query", "value", "fused-qkv", "attention-output", "up"),
        # ... while its released GLUE code names output.dense, the second one (FC2).
        "lora-xs-released": ("query", "value", "fused-qkv", "attention-output", "down"),
    }
)

# The end of a layer's dotted name, as transformers 5 has it, by role. A tail is as long as it must be to mean one
# thing: `out_proj` alone is also a classifier's last layer, `in_proj` a state-space mixer's first.
_TAILS = {
    "query": ("query", "q_proj", "q_lin", "query_proj", "attn.q"),
    "key": ("key", "k_proj", "k_lin", "key_proj", "attn.k"),
    "value": ("value", "v_proj", "v_lin", "value_proj", "attn.v"),
    "fused-qkv": ("attn.c_attn", "self.in_proj", "qkv_proj"),
    "attention-output": (
        "attention.output.dense",  # BERT, RoBERTa, DeBERTa
        "crossattention.output.dense",  # their decoders
        "attn.o",  # MPNet
        "out_lin",  # DistilBERT
        "attn.c_proj",  # GPT-2
        "o_proj",  # Llama and its kin, ViT, DeiT, DINOv2, Swin
        "self_attn.out_proj",  # CLIP
    ),
    "up": ("intermediate.dense", "ffn.lin1", "mlp.c_fc", "up_proj", "fc1", "pwconv1"),  # pwconv: ConvNeXt's
    "gate": ("gate_proj",),
    "down": ("output.dense", "ffn.lin2", "mlp.c_proj", "down_proj", "fc2", "pwconv2", "mlp.weights_out"),
    "fused-gate-up": ("gate_up_proj", "mlp.weights_in"),  # weights_in: DINOv2's SwiGLU before transformers 5.23
}
_ROLE_OF_TAIL = {tail: role for role, tails in _TAILS.items() for tail in tails}


def role_of(name: str) -> str | None:
    """Tell a linear layer's role in its block from the end of its dotted name.

    Known are the names that transformers 5 gives in BERT, RoBERTa, MPNet, DistilBERT, DeBERTa (v1, v2, v3), GPT-2,
    Llama, Mistral, Qwen, Gemma, Phi-3, ViT, DeiT, DINOv2, CLIP, Swin and ConvNeXt. A DeBERTa layer that projects
    relative positions has no role, nor has the layer by which Swin joins patches between stages. The name says nothing
    about where the layer is: `resolve_targets` looks inside the backbone alone.

    Args:
        name: dotted module name, such as `encoder.layer.0.attention.self.query`.

    Returns:
        One of `ROLES`, or None where the name tells nothing.

    >>> role_of("encoder.layer.0.attention.output.dense"), role_of("encoder.layer.0.output.dense")
    ('attention-output', 'down')
    >>> role_of("pooler.dense") is None
    True
    """
    parts = name.split(".")  # the longest end first: attention.output.dense is no MLP
    tails = (".".join(parts[start:]) for start in range(len(parts)))
    return next((_ROLE_OF_TAIL[tail] for tail in tails if tail in _ROLE_OF_TAIL), None)
