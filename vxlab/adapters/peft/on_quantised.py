"""Whether a method of the peft library computes on a quantised layer what it does on the dequantised one."""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters.core import float_linear, has_values, linear_weight, quantisation_of
from vxlab.errors import VxlabError
from vxlab.words import first_line

_TELLS = ("is_loaded_in_8bit", "is_loaded_in_4bit", "hf_quantizer")
"""By what of a model peft chooses its layers."""
_OF_EFFECT, _OF_OUTPUT, _OF_OUTPUT_ON_GPU = 0.1, 1e-5, 0.02
"""Shares of what an adapter adds, and of the output, by which it may be off: kernels of a GPU round their inputs."""
_STIR = 0.3

Inject = Callable[[nn.Module, Mapping[str, nn.Module]], Any]
"""puts a method on the layers of a model"""


def check_on_quantised(method: object, inject: Inject, model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Refuse a method that takes packed numbers for a weight.

    Some of peft's methods read a layer's ``weight`` themselves, and of these some compute on with the packed integers,
    without an error; others do nothing on such layers, or fail in the first step. So of each kind of quantised layer
    one is adapted by itself, and one in floating point with the same values, all that trains is moved in both alike,
    and what is added to their outputs compared.

    Args:
        method: for the error.
        inject: as the method is put on.
        model: that the layers are of.
        layers: to be adapted, by dotted name.

    Raises:
        VxlabError: what it adds is another, or it computes nothing.
    """
    kinds: dict[str, str] = {}
    for name, layer in layers.items():
        if (kind := quantisation_of(layer)) is not None and has_values(layer.get_parameter("weight")):
            kinds.setdefault(kind.scheme, name)
    for scheme, name in kinds.items():
        cuda = range(torch.cuda.device_count()) if layers[name].get_parameter("weight").is_cuda else []
        with torch.random.fork_rng(devices=cuda), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peft or torch remark on, they do again where it is put on
            _check(f"{method} on a base quantised by {scheme}", inject, model, name, layers[name])


def _check(what: str, inject: Inject, model: nn.Module, name: str, layer: nn.Module) -> None:
    try:
        plain = _added(inject, _alone(name, float_linear(layer, torch.float32)), name)
    except Exception:  # it cannot be put on such a layer at all, of which peft itself says why
        return
    packed_model = _alone(name, copy.deepcopy(layer))
    for tell in _TELLS:
        if hasattr(model, tell):
            setattr(packed_model, tell, getattr(model, tell))
    try:
        packed = _added(inject, packed_model, name)
    except Exception as error:  # each method of peft's fails in its own way
        raise VxlabError(
            f"{what}: peft says {first_line(error)}; take another method, or an unquantised base"
        ) from error
    share = _OF_OUTPUT_ON_GPU if packed.is_cuda else _OF_OUTPUT
    output = float((_inputs(layer) @ linear_weight(layer).float().T).norm())
    far, allowed = float((packed - plain).norm()), _OF_EFFECT * float(plain.norm()) + share * output
    if not far <= allowed:
        raise VxlabError(
            f"{what}: peft does not compute it by what the packed weights stand for (off by {far:.1g}, where it adds "
            f"{float(plain.norm()):.1g}); take another method, or an unquantised base"
        )


def _alone(name: str, layer: nn.Module) -> nn.Module:
    """Return a model that has nothing but this layer, under its dotted name."""
    root = parent = nn.Module()
    *path, last = name.split(".")
    for part in path:
        parent.add_module(part, child := nn.Module())
        parent = child
    parent.add_module(last, layer)
    return root


def _added(inject: Inject, model: nn.Module, name: str) -> Tensor:
    """Return what a method with moved values adds to the outputs of the one layer, which takes a backward pass."""
    before = model.get_submodule(name)
    x = _inputs(before).requires_grad_()
    without = before(x).detach().clone()
    torch.manual_seed(0)
    inject(model, {name: before})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(_STIR * torch.randn(parameter.shape, generator=generator).to(parameter))
    y: Tensor = model.eval().get_submodule(name)(x)
    torch.autograd.backward(y.sum())
    added: Tensor = y.detach() - without
    return added


def _inputs(layer: Any) -> Tensor:
    device = layer.get_parameter("weight").device
    return torch.randn(2, 3, layer.in_features, generator=torch.Generator().manual_seed(2)).to(device)
