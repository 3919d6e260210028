"""Linear layers whose weight is quantised: which they are, what their weight stands for, and a trap they have."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from vxlab.errors import VxlabError

_FOUR_BITS, _EIGHT_BITS = "Linear4bit", "Linear8bitLt"
"""bitsandbytes' layers, by their class: the library is imported only where a weight is asked for."""


class Quantisation(NamedTuple):
    """How a layer's weight is quantised."""

    scheme: str
    """``nf4``, ``fp4`` or ``int8`` (bitsandbytes), or ``torchao-int8``"""
    block: int
    """how many numbers share one scale; 0 where it is a whole row of W"""
    double: bool = False
    """whether the scales are quantised in turn"""


def quantisation_of(layer: nn.Module) -> Quantisation | None:
    """Return how a linear layer's weight is quantised; None where it is not, or not in a way known here.

    >>> quantisation_of(nn.Linear(2, 2))
    """
    weight: Any = getattr(layer, "weight", None)
    kind = type(layer).__name__ if type(layer).__module__.startswith("bitsandbytes.") else ""
    if kind == _FOUR_BITS and (state := getattr(weight, "quant_state", None)) is not None:
        return Quantisation(state.quant_type, state.blocksize, state.nested)
    if kind == _EIGHT_BITS and not weight.has_fp16_weights and _scales(layer) is not None:
        return Quantisation("int8", 0)
    if type(layer) is nn.Linear and _is_torchao_int8(weight):
        rows, columns = weight.block_size
        return Quantisation("torchao-int8", 0 if (rows, columns) == (1, weight.shape[1]) else rows * columns)
    return None


def dequantised(layer: nn.Module) -> Tensor:
    """Return W ``(out, in)`` of a quantised layer, as its own forward pass has it.

    Raises:
        VxlabError: a forward pass in evaluation has repacked it for the processor, after which it is not readable.
    """
    module: Any = layer
    if type(layer).__name__ == _FOUR_BITS:
        import bitsandbytes.functional

        _require_unpacked(module)
        unpacked: Tensor = bitsandbytes.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
        return unpacked
    if type(layer).__name__ == _EIGHT_BITS:
        # In the layer's own order of operations, so that the numbers are its own to the last bit.
        scales: Any = _scales(layer)
        scaled: Tensor = module.weight.data.float().mul_(scales.unsqueeze(1).mul(1.0 / 127.0))
        return scaled
    whole: Tensor = module.weight.dequantize()
    return whole


def guard_kernels(model: nn.Module) -> None:
    """Keep bitsandbytes from computing otherwise in evaluation than in training, as it does on a CPU.

    4-bit layers, on processors with bfloat16 instructions, repack their weight in place in the first forward pass in
    evaluation. Of the new order the backward pass and ``dequantize_4bit`` know nothing: gradients and every
    decomposition are then wrong, without an error. 8-bit layers multiply by the dequantised weight in training, and in
    evaluation round their input to 8 bits as well, which moves logits by percents and makes merging look lossy. Here
    both compute x·Wᵀ by the dequantised weight, always. (On a GPU 8-bit layers round their input in both modes.)

    Raises:
        VxlabError: a 4-bit weight has been repacked already.
    """
    for name, module in model.named_modules():
        if not type(module).__module__.startswith("bitsandbytes."):
            continue
        layer: Any = module
        if type(module).__name__ == _FOUR_BITS:
            _require_unpacked(layer, name)
            layer.support_avx512bf16_for_cpu = False
        elif type(module).__name__ == _EIGHT_BITS:
            layer.training, layer.train = True, _stay


def _stay(mode: bool = True) -> None:
    """Take the place of a layer's ``train``, so that it never learns that evaluation has begun."""


def _require_unpacked(layer: Any, name: str = "") -> None:
    if getattr(getattr(layer.weight, "quant_state", None), "packing_format_for_cpu", False):
        what = f"the 4-bit weight of `{name}`" if name else "a 4-bit weight"
        raise VxlabError(
            f"{what} was repacked for this processor by a forward pass in evaluation mode, so that it cannot be read "
            "and its gradients would be wrong; load the model again, by vxlab.load_model, or call vxlab.attach before "
            "the first forward pass"
        )


def _scales(layer: Any) -> Tensor | None:
    """Return int8's scale of every row ``(out,)``; a first forward pass moves it from the weight to the layer."""
    scales: Tensor | None = getattr(layer.weight, "SCB", None)
    return layer.state.SCB if scales is None else scales


def _is_torchao_int8(weight: Any) -> bool:
    return type(weight).__module__.startswith("torchao.") and type(weight).__name__ == "Int8Tensor"
