"""Quantised models turned into floating point."""

from typing import Any, TypeVar

import torch
from torch import nn

from vxlab.adapters.core import exchange_hooks, float_linear, quantisation_of
from vxlab.adapters.placement import bare, require_unattached
from vxlab.errors import VxlabError

Model = TypeVar("Model", bound=nn.Module)

_ON_MODELS = ("hf_quantizer", "quantization_method", "is_quantized", "is_loaded_in_4bit", "is_loaded_in_8bit")
"""What transformers keeps on a quantised model, by which it casts, moves and saves it otherwise than others."""
_ON_CONFIGS = ("quantization_config", "_is_quantized")


def dequantise(model: Model) -> Model:
    """Make every quantised layer one in floating point that holds W as its packed numbers stand for it.

    The outputs stay what they were, and the memory becomes that of a model in floating point: that is for serving a
    merged model, and for reading weights, by programs that know no quantisation. What transformers remembers of the
    quantisation goes too, so that ``save_pretrained`` writes a model that ``from_pretrained`` loads as any other. The
    weights are in the precision of the rest of the model, and train as those of a model that was just loaded.

    Args:
        model: of transformers or of your own; changed in place. Layers that are in floating point stay as they are,
            such as those in which :func:`vxlab.detach` leaves a merged update.

    Returns:
        The same model.

    Raises:
        VxlabError: an adapter is on it, or no layer is quantised, or a packed weight cannot be read
            (:func:`vxlab.load_model` and :func:`vxlab.attach` prevent it). The model is then as it was.
    """
    inside = bare(model)
    require_unattached(inside)
    packed = {name: each for name, each in inside.named_modules(remove_duplicate=False) if quantisation_of(each)}
    known = any(name in vars(module) for module in inside.modules() for name in _ON_MODELS)  # all may be merged by now
    if "" in packed or not (packed or known):
        lacking = "is one quantised layer, and no model with such" if packed else "has no quantised layer"
        raise VxlabError(f"this {type(inside).__name__} {lacking}, so that there is nothing in it to dequantise")
    dtype = _rest_dtype(inside)
    plain = {each: float_linear(each, dtype) for each in dict.fromkeys(packed.values())}  # one layer may have two names
    for layer, new in plain.items():
        exchange_hooks(new, layer)
    for name, layer in packed.items():
        mode = inside.get_submodule(name.rpartition(".")[0]).training
        inside.set_submodule(name, plain[layer].train(mode))
    for module in inside.modules():
        _forget(module, _ON_MODELS)
        _forget(getattr(module, "config", None), _ON_CONFIGS)
        _forget_unpacking(module)
    return model


def _rest_dtype(model: nn.Module) -> torch.dtype:
    """Return the precision that the unquantised parameters have, the widest where they differ; else float32."""
    packed = {id(layer.get_parameter("weight")) for layer in model.modules() if quantisation_of(layer)}
    dtypes = {each.dtype for each in model.parameters() if id(each) not in packed and each.is_floating_point()}
    return max(dtypes, key=lambda dtype: dtype.itemsize, default=torch.float32)


def _forget(thing: Any, names: tuple[str, ...]) -> None:
    for name in names:
        if name in getattr(thing, "__dict__", {}):
            delattr(thing, name)


def _forget_unpacking(module: Any) -> None:
    """Leave out of what transformers undoes on saving how it unpacked weights on loading, which it cannot undo."""
    if (steps := getattr(module, "_weight_conversions", None)) is not None:
        module._weight_conversions = [step for step in steps if _can_be_undone(step)]


def _can_be_undone(step: Any) -> bool:
    try:
        step.reverse_transform()
    except NotImplementedError:
        return False
    return True
