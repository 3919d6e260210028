"""Linear layers and models with quantised weights."""

from typing import Any

import torch
from torch import nn

from vxlab.experiments.models.quantised import check_quantisation


def quantised(layer: nn.Linear, scheme: str) -> Any:
    """Return the layer with its weight quantised, as a model that is loaded so has it."""
    check_quantisation(scheme)
    out_features, in_features = layer.weight.shape
    if scheme == "torchao-int8":
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        return quantize_(nn.Sequential(layer), Int8WeightOnlyConfig()) or layer
    import bitsandbytes.nn

    kind, settings = {
        "nf4": (bitsandbytes.nn.Linear4bit, {"quant_type": "nf4", "compute_dtype": torch.float32}),
        "int8": (bitsandbytes.nn.Linear8bitLt, {"has_fp16_weights": False}),
    }[scheme]
    new: Any = kind(in_features, out_features, bias=layer.bias is not None, **settings)
    new.load_state_dict(layer.state_dict())
    return new.to("cpu")
