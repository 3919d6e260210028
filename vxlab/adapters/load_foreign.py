"""Put an adapter of another library's on the base that it was trained on."""

import dataclasses
import math
import re
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vxlab.adapters.attach import attach_layers, detach
from vxlab.adapters.core import Family, Method, Shape, is_conv1d, is_linear, linear_shape, role_of
from vxlab.adapters.interop import SavedAdapter, check_named_base, saved_modules, settle_frozen, targeted
from vxlab.adapters.peft import load_state
from vxlab.adapters.placement import (
    adapted_layers,
    attachment_of,
    bare,
    base_parameters,
    own_buffers,
    require_before_sharing_out,
    require_unattached,
    shared_parameters,
)
from vxlab.errors import VxlabError

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
_SIDES = {"A": 1, "B": 0, "lambda_b": 0}
"""Of our families' tensors: which of their sides is the same of a layer's (out, in)."""


def load_foreign(model: nn.Module, saved: SavedAdapter) -> None:
    """Put an adapter on a model as if its method had been attached here, with all of its tensors.

    Raises:
        VxlabError: the model lacks a layer or has it in another size, a tensor has no place or a place no tensor, the
            base is another, or another method is attached. The model is then as it was.
    """
    inside = bare(model)
    require_unattached(inside)
    require_before_sharing_out(model)
    layers = _checked_layers(inside, saved)
    saved = _without_the_bases_own(inside, saved)
    check_named_base(saved, inside, layers)
    _warn_of_a_drawn_head(inside, saved)
    saved = settle_frozen(saved, layers)
    method = saved.make_method()
    with torch.random.fork_rng(devices=[]):  # the initial values are overwritten: leave the caller's generator be
        attach_layers(inside, method, layers, saved.frozen or None)
    try:
        _copy(inside, method, saved)
    except VxlabError as error:
        detach(inside)
        raise VxlabError(f"{saved.folder}: {error}") from error


def _checked_layers(model: nn.Module, saved: SavedAdapter) -> dict[str, nn.Module]:
    """Return the layers that an adapter is on, in the model's order, if they are those that its config names."""
    modules, owner = dict(model.named_modules()), type(model).__name__
    for layer in saved.layers:
        if layer not in modules or not is_linear(modules[layer]):
            raise VxlabError(
                f"{saved.folder} adapts `{layer}`, which this {owner} lacks, or has as no linear layer; "
                + (_renamed(layer, modules) or "load the model that it was trained on, in the same class")
            )
        _check_sizes(saved, layer, linear_shape(modules[layer]))
    named = [name for name in targeted(saved.config, model) if _has_a_weight_matrix(modules[name])]
    if lacking := [name for name in named if name not in saved.layers]:
        raise VxlabError(
            f"{saved.folder} lacks the tensors of `{lacking[0]}`, one of {len(named)} layers of this {owner} that its "
            f"config names, and has those of {len(saved.layers)}: it is not whole, or of another base"
        )
    if surplus := [name for name in saved.layers if name not in named]:
        raise VxlabError(
            f"{saved.folder} has tensors of `{surplus[0]}`, which its config does not name, so peft would pass over "
            "them; get the config that belongs to them"
        )
    return {name: modules[name] for name in named}


def _renamed(layer: str, modules: Mapping[str, nn.Module]) -> str:
    """Say what a layer is called here by its role and its place; "" where nothing here has both alone."""
    role, place = role_of(layer), _NUMBER.findall(layer)
    alike = [name for name, each in modules.items() if is_linear(each) and role_of(name) == role]
    found = [name for name in alike if _NUMBER.findall(name) == place]
    if role is None or len(found) != 1:
        return ""
    return (
        f"here its {role} is called `{found[0]}`, for transformers has renamed the layers of some models: give the "
        "folder's tensors and its target_modules the names of here, or load it with the transformers that it was made "
        "with; or load the model that it was trained on, in the same class"
    )


def _has_a_weight_matrix(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or is_conv1d(module) or is_linear(module)


def _check_sizes(saved: SavedAdapter, layer: str, shape: Shape) -> None:
    for name, side in _SIDES.items():
        tensor = saved.tensors[layer].get(name)
        if tensor is not None and tensor.shape[side] != shape[side]:
            raise VxlabError(
                f"{saved.folder} is of another base: its {name} of `{layer}` is {tuple(tensor.shape)}, and the layer "
                f"here is (out, in) = {shape}; load the model that it was trained on"
            )


def _without_the_bases_own(model: nn.Module, saved: SavedAdapter) -> SavedAdapter:
    """Return an adapter without what it holds of the base, and did not train: peft saves an adapted output layer so.

    Raises:
        VxlabError: such a tensor is another here, or a trained one is missing, surplus, of another shape or tied.
    """
    own = _places(model)
    places = {**own, **dict(model.named_parameters(remove_duplicate=False))}  # peft saves tied ones under every name
    wanted = {name for name in places if _is_saved(model, saved, name)}
    for name in sorted(wanted ^ saved.others.keys()):
        if name in places and name not in wanted and _is_same(places[name], saved.others[name]):
            continue
        fault = "lacks" if name in wanted else "has" if name in places else "has, and this model has not,"
        raise VxlabError(
            f"{saved.folder} {fault} `{name}`, and its config has modules_to_save="
            f"{saved.config.get('modules_to_save')} and bias={saved.config.get('bias', 'none')!r}; get the folder "
            "whole, and load the model that it was trained on, in the same class"
        )
    trained = {name: each for name, each in saved.others.items() if name in wanted}
    _check_trained(model, saved, trained, places)
    return dataclasses.replace(saved, others={name: each for name, each in trained.items() if name in own})


def _check_trained(
    model: nn.Module, saved: SavedAdapter, trained: Mapping[str, Tensor], places: Mapping[str, Tensor]
) -> None:
    shared = shared_parameters(model)
    for name, tensor in trained.items():
        if tensor.shape != places[name].shape:
            raise VxlabError(
                f"{saved.folder} is of another base, or of a head with another number of outputs: its `{name}` is "
                f"{tuple(tensor.shape)}, and here it is {tuple(places[name].shape)}"
            )
        if apart := [other for other in shared.get(name, ()) if not _is_equal(trained.get(other), tensor)]:
            raise VxlabError(
                f"{saved.folder} trained `{name}` apart from `{apart[0]}`, and here the two are one tensor; part them "
                "first: set model.config.tie_word_embeddings = False, and in the place of one put "
                "torch.nn.Parameter(it.detach().clone()) (from_pretrained(..., tie_word_embeddings=False) would draw "
                "it at random where the files hold it once)"
            )


def _is_equal(one: Tensor | None, other: Tensor) -> bool:
    return one is not None and torch.equal(one, other)


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.detach().to(other.dtype).cpu(), other.cpu())


def _warn_of_a_drawn_head(model: nn.Module, saved: SavedAdapter) -> None:
    drawn = [name for name in getattr(model, "vxlab_drawn", ()) if name not in saved.others]
    if drawn:
        warnings.warn(
            f"{saved.folder} holds no `{min(drawn)}`, and this {type(model).__name__}'s was drawn at random when the "
            "model was loaded, so its answers are too; train it, or load a model that has it",
            stacklevel=3,
        )


def _places(model: nn.Module) -> dict[str, Tensor]:
    return {**base_parameters(model), **own_buffers(model)}


def _is_saved(model: nn.Module, saved: SavedAdapter, name: str) -> bool:
    if any(name.startswith(f"{module}.") for module in saved_modules(saved.config, model)):
        return True
    bias = saved.config.get("bias", "none")
    if name.rpartition(".")[2] != "bias" or bias == "none":
        return False
    return bias == "all" or name.rpartition(".")[0] in saved.layers


def _copy(model: nn.Module, method: Method, saved: SavedAdapter) -> None:
    """Give all tensors their values, after every check."""
    if isinstance(method, Family):
        places = {name: layer.trained_tensors() for name, layer in adapted_layers(model).items()}
        for layer, tensors in saved.tensors.items():
            found, wanted = (
                {key: tuple(each.shape) for key, each in some.items()} for some in (tensors, places[layer])
            )
            if found != wanted:
                raise VxlabError(f"`{layer}` has {found}, and {method} takes {wanted} there")
        for layer, tensors in saved.tensors.items():
            _fill(places[layer], tensors)
    else:
        _load_theirs(model, method, saved)
    own = base_parameters(model)
    _fill(_places(model), saved.others)
    for name in saved.others:
        if name in own:
            own[name].requires_grad_(True)


def _load_theirs(model: nn.Module, method: Method, saved: SavedAdapter) -> None:
    load_state(model, saved.stored)
    attachment = attachment_of(model)
    now = method.fingerprints({name: model.get_submodule(name) for name in attachment.layers})
    before = attachment.fingerprints
    pairs = zip(before.get("basis_probes", []), now.get("basis_probes", []), strict=True)
    if not all(math.isclose(one, other, abs_tol=1e-3) for one, other in pairs):
        raise VxlabError(
            f"its frozen tensors are others than peft draws or decomposes here for {method}, so it could not be saved "
            "and loaded again; load it with the peft library itself"
        )


@torch.no_grad()
def _fill(places: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        places[name].copy_(tensor)
