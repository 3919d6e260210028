"""Which layers of a model an adapter goes on, and which parameters are the task head."""

import difflib
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from vxlab.adapters.core import ROLES, TARGET_SETS, is_conv1d, is_linear, role_of, why_not_plain
from vxlab.adapters.placement.bypass import readers
from vxlab.adapters.placement.shared_memory import shared_parameters
from vxlab.adapters.placement.wrappers import require_model
from vxlab.errors import VxlabError

# In evaluation alone this reads its children's weights without calling them.
_BYPASSING = (nn.TransformerEncoderLayer,)
_SUPPORTED = "an adapter needs a plain torch.nn.Linear, or GPT-2's Conv1D, with a floating-point weight"


def resolve_targets(model: nn.Module, targets: str | Sequence[str]) -> dict[str, nn.Module]:
    """Find the linear layers that `targets` names.

    A single string is read as a target set (`TARGET_SETS`), else a role (`ROLES`), else the end of a dotted module name
    in whole components (`attention.output.dense`), else a regular expression that the whole dotted name must match.
    A sequence is the union of its items, each a set, a role or such an end, and each must find a layer.

    Sets and roles are looked for in the backbone. A task head is trained in full and never a target; a language model's
    output layer is one only when its own name asks for it. `all-linear` is every linear layer of the backbone whose
    path holds a number, so a repeated block's layers without the pooler and the projections of embeddings. A regular
    expression takes the linear layers among its matches.

    Args:
        model: any torch model; transformers' backbones and heads are told apart (`backbones`).
        targets: what to adapt, as above.

    Returns:
        The layers by dotted name, in the model's own order; at least one.

    Raises:
        VxlabError: when something finds no layer (the nearest names are listed), finds a layer that is not linear,
            that torch bypasses, or that shares its weight with another module, or is not a string or a sequence of
            strings.

    >>> block = nn.ModuleDict({"q_proj": nn.Linear(4, 4), "k_proj": nn.Linear(4, 4), "v_proj": nn.Linear(4, 4)})
    >>> list(resolve_targets(nn.Sequential(block), "query-value"))
    ['0.q_proj', '0.v_proj']
    """
    require_model(model)
    chosen: set[str] = set()
    candidates, shared = _outside_the_head(model), shared_parameters(model)
    for item in _items(targets):
        found = _by_role(model, candidates, item)
        if found is None:
            found = _by_suffix(candidates, item)
        if not found and isinstance(targets, str):
            found = _by_regex(candidates, targets)
        if not found:
            raise VxlabError(_nothing_found(model, candidates, item))
        for name in found:
            _refuse_unfit(model, name, candidates[name], item, shared)
        chosen.update(found)
    return {name: module for name, module in candidates.items() if name in chosen}


def head_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the task head's parameters by dotted name, in the model's order; none where the model has no task head.

    The head is every parameter outside the :func:`backbones`, except in a language model: its output layer is
    pretrained. What :func:`vxlab.load_model` drew inside a backbone (a pooler that the weights lack) is of the head
    too: frozen, it would be other random numbers at every loading.

    >>> head_parameters(nn.Linear(2, 2))
    {}
    """
    inside = {id(parameter) for owner, backbone in _parts(model) for parameter in _pretrained(owner, backbone)}
    return {name: each for name, each in model.named_parameters() if id(each) not in inside}


def backbones(model: nn.Module) -> list[nn.Module]:
    """Return the pretrained parts of a model, with adapters or without: one for each model of transformers' in it.

    The backbone of a transformers model is the child named by `base_model_prefix`, or the only child that is a
    transformers model itself (CLIP's image classifier has its vision model there). Any other module holds the
    backbones of the transformers models in it, such as the two encoders in a module of one's own, or the one that
    DataParallel wraps; where there are none, it is all backbone.
    """
    return [backbone for _, backbone in _parts(model)]


def _parts(model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Return the outermost transformers models in a model, each with its backbone."""
    if getattr(model, "base_model_prefix", ""):
        return [(model, _backbone(model))]
    # A PreTrainedModel without a prefix is of the user's own: it may hold others, or be one itself.
    inner = [part for child in model.children() for part in _transformers_parts(child)]
    return inner or [(model, model)]


def _pretrained(owner: nn.Module, backbone: nn.Module) -> list[nn.Parameter]:
    if _is_language_model(owner):
        return list(owner.parameters())
    drawn: Container[str] = getattr(owner, "vxlab_drawn", ())
    new = {id(parameter) for name, parameter in owner.named_parameters() if name in drawn}
    return [parameter for parameter in backbone.parameters() if id(parameter) not in new]


def _transformers_parts(module: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    parts = _parts(module)
    return parts if hasattr(module, "base_model_prefix") or parts != [(module, module)] else []


def _backbone(model: nn.Module) -> nn.Module:
    prefix: Any = model.base_model_prefix
    named = getattr(model, prefix, None)
    if isinstance(named, nn.Module):
        return named
    own = [child for child in model.children() if hasattr(child, "base_model_prefix")]
    return own[0] if len(own) == 1 else model


def _is_language_model(model: nn.Module) -> bool:
    output_layer = getattr(model, "get_output_embeddings", None)
    return callable(output_layer) and output_layer() is not None


def _outside_the_head(model: nn.Module) -> dict[str, nn.Module]:
    head = {id(parameter) for parameter in head_parameters(model).values()}
    inside = {id(module) for backbone in backbones(model) for module in backbone.modules()}
    return {
        name: module
        for name, module in model.named_modules()
        if name and not _of_the_head(module, head, any if id(module) not in inside else all)
    }


def _of_the_head(module: nn.Module, head: Container[int], how_many: Callable[[Iterable[bool]], bool]) -> bool:
    of_the_head = [id(each) in head for each in module.parameters()]
    return bool(of_the_head) and how_many(of_the_head)


def _items(targets: object) -> list[str]:
    wanted = "targets must be one string or a list of strings: target sets, roles or layer names"
    items = [targets] if isinstance(targets, str) else targets
    if not isinstance(items, Sequence):
        raise VxlabError(f"targets={targets!r} is a {type(targets).__name__}; {wanted}")
    wrong = [item for item in items if not isinstance(item, str) or not item]
    if wrong:
        raise VxlabError(f"targets={targets!r} holds {wrong[0]!r}; {wanted}, none of them empty")
    if not items:
        raise VxlabError(f"targets={targets!r} is empty; {wanted}, such as 'query-value'")
    return [str(item) for item in items]


def _by_role(model: nn.Module, candidates: dict[str, nn.Module], item: str) -> list[str] | None:
    """Return the layers of a set or role, or None where `item` is neither."""
    if item not in TARGET_SETS and item not in ROLES:
        return None
    in_backbone = {id(module) for backbone in backbones(model) for module in backbone.modules()}
    linear = [name for name, each in candidates.items() if _looks_linear(each) and id(each) in in_backbone]
    if item == "all-linear":
        return [name for name in linear if any(part.isdigit() for part in name.split("."))]
    roles = TARGET_SETS.get(item, (item,))
    return [name for name in linear if role_of(name) in roles]


def _by_suffix(names: Iterable[str], suffix: str) -> list[str]:
    return [name for name in names if name == suffix or name.endswith("." + suffix)]


def _by_regex(candidates: dict[str, nn.Module], pattern: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        message = f"targets={pattern!r} is no target set, role or layer name, and no valid regular expression: {error}"
        raise VxlabError(message) from error
    matches = [name for name in candidates if compiled.fullmatch(name)]
    # An expression for a whole block also meets its containers and norms; they are an error only if alone.
    return [name for name in matches if _looks_linear(candidates[name])] or matches


def _looks_linear(module: nn.Module) -> bool:
    """Tell a layer that its owner would call linear, fit or not, so that an unfit one is refused and never left out."""
    named_so = "Linear" in type(module).__name__ and next(module.children(), None) is None
    return isinstance(module, nn.Linear) or named_so or is_conv1d(module)


def _refuse_unfit(
    model: nn.Module, name: str, module: nn.Module, item: str, shared: Mapping[str, Sequence[str]]
) -> None:
    what = f"targets={item!r} matches `{name}`"
    for _, reader, may_call in readers(model, name):
        if not may_call or isinstance(reader, _BYPASSING):
            owner = ("torch.nn." if type(reader).__module__.startswith("torch.") else "") + type(reader).__name__
            raise VxlabError(f"{what} inside {owner}, which reads the weight without calling the layer; choose others")
    if not is_linear(module):
        hint = f"; it holds {_quoted(_layer_ends(module, name))}" if _layer_ends(module, name) else ""
        raise VxlabError(f"{what} ({type(module).__name__}): {why_not_plain(module) or _SUPPORTED}{hint}")
    if twins := shared.get(f"{name}.weight"):
        twin = twins[0].removesuffix(".weight")
        raise VxlabError(f"{what}, whose weight `{twin}` shares; merging would change both, so choose other layers")


def _nothing_found(model: nn.Module, candidates: dict[str, nn.Module], item: str) -> str:
    owner = type(model).__name__
    ends = sorted({end for name, each in candidates.items() if is_linear(each) for end in _layer_ends(each, name)})
    if not ends:
        return f"targets={item!r}: {owner} holds no linear layer; {_SUPPORTED}"
    layers = f"its linear layers: {_quoted(ends)}"
    if item in TARGET_SETS or item in ROLES:
        known = {role_of(name) for name, each in candidates.items() if _looks_linear(each)}
        roles = [role for role in ROLES if role in known]
        return f"targets={item!r}: {owner} has no such layers; its roles: {_quoted(roles) or 'none known'}\n{layers}"
    if item not in candidates and _by_suffix((name for name, _ in model.named_modules()), item):
        return f"targets={item!r} is in the task head of {owner}, which is trained in full\n{layers}"
    parts = (".".join(end.split(".")[start:]) for end in ends for start in range(end.count(".") + 1))
    near = difflib.get_close_matches(item, dict.fromkeys([*TARGET_SETS, *ROLES, *parts]))
    hint = f"nearest: {_quoted(near)}" if near else f"sets: {_quoted(TARGET_SETS)}"
    return f"targets={item!r} matches no layer of {owner}; {hint}\n{layers}"


def _layer_ends(module: nn.Module, name: str) -> list[str]:
    """Return the names of the linear layers in `module` (itself included), from their last number on."""
    full = (f"{name}.{inner}".rstrip(".") for inner, each in module.named_modules() if is_linear(each))
    return list(dict.fromkeys(re.sub(r"^(.*\.)?\d+\.", "", each) for each in full))


def _quoted(names: Iterable[str]) -> str:
    """List names for a message; a long list ends in its count."""
    quoted = [repr(name) for name in names]
    rest = [f"and {len(quoted) - 12} more"] if len(quoted) > 12 else []
    return ", ".join(quoted[:12] + rest)
