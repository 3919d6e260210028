"""What a model trained beside its adapters, as whole modules: so the peft library saves it."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from vxlab.adapters.interop.peft_targets import saved_modules
from vxlab.adapters.placement import (
    attachment_of,
    bare,
    base_buffers,
    base_parameters,
    head_parameters,
    own_buffers,
    shared_parameters,
)
from vxlab.errors import VxlabError

_NO_FORWARD = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
"""Containers that are never called, so that nothing can stand in their place."""


def trained_modules(model: nn.Module, but: Collection[str] = ()) -> list[str]:
    """Return the modules that hold the task head and all else of the base that trains or moved, by dotted name.

    Args:
        model: with a method attached.
        but: parameters of the base that are saved otherwise.

    Raises:
        VxlabError: such a parameter is in no module but the model itself, in an adapted layer, or tied to one outside.
    """
    inside, own = bare(model), base_parameters(model)
    head = head_parameters(inside)
    moved, _ = base_buffers(model)
    names = {name for name, each in own.items() if each.requires_grad or name in head} | moved.keys()
    whole = names | own_buffers(model).keys()
    found = _outermost({_module_of(inside, name, whole) for name in names - set(but)}, inside)
    tensors = tensors_of(model, found)
    _refuse_unsayable(model, found, tensors)
    return found


def tensors_of(model: nn.Module, modules: Collection[str]) -> dict[str, Tensor]:
    """Return all that these modules hold of the base, by dotted name there."""
    whole = {**base_parameters(model), **own_buffers(model)}
    return {name: each for name, each in whole.items() if any(name.startswith(f"{module}.") for module in modules)}


def _module_of(model: nn.Module, name: str, names: Collection[str]) -> str:
    """Return the outermost module around a parameter that holds nothing but these, else the one that holds it."""
    owner = name.rpartition(".")[0]
    while above := owner.rpartition(".")[0]:
        module = model.get_submodule(above)
        parts = [f"{above}.{each}" for each, _ in module.named_parameters()]
        if isinstance(module, _NO_FORWARD) or any(each not in names for each in parts):
            break
        owner = above
    return owner


def _outermost(modules: Collection[str], model: nn.Module) -> list[str]:
    outer = {each for each in modules if not any(each.startswith(f"{other}.") for other in modules if other)}
    return [name for name, _ in model.named_modules() if name in outer]


def _refuse_unsayable(model: nn.Module, modules: Collection[str], tensors: Mapping[str, Tensor]) -> None:
    inside, layers = bare(model), attachment_of(model).layers
    if "" in modules:
        raise VxlabError(
            f"this {type(inside).__name__} trains a parameter of its own, in no module of it, and the peft library "
            "saves whole modules; save it by vxlab.save_adapter"
        )
    for module in modules:
        if any(f"{layer}.".startswith(f"{module}.") for layer in layers):
            raise VxlabError(
                f"`{module}` trains apart from its adapter, and the peft library saves a module or adapts it; "
                "freeze it, or save it by vxlab.save_adapter"
            )
    same = saved_modules({"modules_to_save": list(modules)}, inside)
    if modules and set(same) != set(modules):
        surplus = sorted(set(same) - set(modules))
        raise VxlabError(
            f"the peft library would take {', '.join(surplus)} for one of the trained modules {', '.join(modules)}, by "
            "the ends of their names; save it by vxlab.save_adapter"
        )
    shared = shared_parameters(inside)
    for name in tensors:
        if outside := [other for other in shared.get(name, ()) if other not in tensors]:
            raise VxlabError(
                f"`{name}` trained and is one with `{outside[0]}`, and the peft library would part the two; save it by "
                "vxlab.save_adapter"
            )
