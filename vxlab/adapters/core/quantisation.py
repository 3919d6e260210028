"""Linear layers whose weight is quantised: which they are, what their weight stands for, and a trap they have."""

import copy
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

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
        scales: Any = _scales(layer)  # which stay behind where a whole model is moved
        scaled: Tensor = module.weight.data.float().mul_(scales.to(module.weight.device)[:, None].mul(1.0 / 127.0))
        return scaled
    whole: Tensor = module.weight.dequantize()
    return whole


def packed_tensors(layer: nn.Module) -> list[Tensor]:
    """Return what a quantised layer holds in the place of W: the packed numbers first, then scales and their tables."""
    module: Any = layer
    if type(layer).__name__ == _FOUR_BITS:
        state = module.weight.quant_state
        parts = [*vars(state).values(), *(vars(state.state2).values() if state.nested else ())]
        return [module.weight.data, *(each for each in parts if isinstance(each, Tensor))]
    if type(layer).__name__ == _EIGHT_BITS:
        scales: Any = _scales(layer)
        return [module.weight.data, scales]
    names, _ = module.weight.__tensor_flatten__()
    return [getattr(module.weight, name) for name in names]


def quantise_alike(layer: nn.Module, weight: Tensor) -> nn.Module:
    """Return a layer like a quantised one, bias included, that holds another W ``(out, in)``, quantised in its way."""
    new: Any = copy.copy(layer)
    new._parameters = dict(layer._parameters)
    old: Any = layer.weight
    if type(layer).__name__ == _FOUR_BITS:
        whole = weight.to("cpu", old.quant_state.dtype)
        own = {name: getattr(old, name) for name in ("quant_type", "quant_storage")}
        state = {"blocksize": old.quant_state.blocksize, "compress_statistics": old.quant_state.nested}
        new.weight = type(old)(whole, requires_grad=False, module=new, **own, **state).to(old.device)
        new.quant_state = new.weight.quant_state
    elif type(layer).__name__ == _EIGHT_BITS:
        new.state = copy.copy(new.state)
        new.state.CB = new.state.SCB = None
        new.weight = type(old)(weight.to("cpu"), requires_grad=False).to(old.device)
    else:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        plain = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        plain.weight = nn.Parameter(weight.to(old.device, old.dtype), requires_grad=False)
        quantize_(holder := nn.Sequential(plain), Int8WeightOnlyConfig())
        new.weight = holder[0].weight
    return new  # type: ignore[no-any-return]


def guard_kernels(model: nn.Module) -> None:
    """Let quantised layers compute as ``torch.nn.Linear`` does, keep no W, and leave what they hold as it is.

    4-bit layers, on processors with bfloat16 instructions, repack their weight in place in the first forward pass in
    evaluation. Of the new order the backward pass and ``dequantize_4bit`` know nothing: gradients and every
    decomposition are then wrong, without an error. They compute in a precision of their own, whatever autocast's is.
    bitsandbytes' 8-bit layers multiply by the dequantised weight in training on a CPU, keeping their input for it, and
    round the input to 8 bits as well elsewhere, which moves logits by percents and makes merging look lossy; under
    autocast they round their bias for good. torchao's keep the dequantised weight until the backward pass. Here all
    compute x·Wᵀ + bias by the dequantised weight, always, in autocast's precision or that of x.

    Raises:
        VxlabError: a 4-bit weight has been repacked already.
    """
    for name, module in model.named_modules():
        layer: Any = module
        if quantisation_of(layer) is None:
            continue
        four_bits = type(layer).__name__ == _FOUR_BITS
        if four_bits:
            _require_unpacked(layer, name)
            layer.support_avx512bf16_for_cpu = False
        if "forward" not in vars(layer) or has_guard(layer):
            layer.forward = MethodType(_four_bit_forward if four_bits else _eight_bit_forward, layer)


def has_guard(layer: nn.Module) -> bool:
    """Tell whether the layer's forward is the one that :func:`guard_kernels` put there."""
    return getattr(vars(layer).get("forward"), "__func__", None) in (_four_bit_forward, _eight_bit_forward)


def _four_bit_forward(layer: Any, x: Tensor) -> Tensor:
    from bitsandbytes.autograd import _functions as kernels

    x, bias = _as_computed(x, layer.bias)
    y: Tensor = kernels.matmul_4bit(x, layer.weight, bias=bias, quant_state=layer.weight.quant_state)
    return y


def _eight_bit_forward(layer: Any, x: Tensor) -> Tensor:
    x, bias = _as_computed(x, layer.bias)
    y: Tensor = _Dequantised.apply(x, bias, layer)  # type: ignore[no-untyped-call]
    return y


class _Dequantised(Function):
    """x·Wᵀ + bias, with W made of the packed numbers in each pass and kept in none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, layer: nn.Module) -> Tensor:
        ctx.layer = layer
        return nn.functional.linear(x, dequantised(layer).to(x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gy,) = grads
        x_needed, bias_needed, _ = ctx.needs_input_grad
        gx = gy @ dequantised(ctx.layer).to(gy.dtype) if x_needed else None
        return gx, gy.flatten(0, -2).sum(0) if bias_needed else None, None


def _as_computed(x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return x and a bias in the precision to compute in: autocast's where it is on, else that of x."""
    dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
    return x.to(dtype), None if bias is None else bias.to(dtype)


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
