"""Which modules an adapter's config of the peft library names, and how to name exactly these."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from vxlab.adapters.core import is_conv1d
from vxlab.errors import VxlabError

ALL_LINEAR = "all-linear"
_HEADS = ("score", "classifier")
"""The names that peft takes a sequence classifier's head to have, in this order."""
_HEADS_BY_TASK = {"SEQ_CLS": _HEADS, "TOKEN_CLS": _HEADS, "QUESTION_ANS": ("qa_outputs",)}
"""What peft saves whole for a task, whether a config names it or not: up to version 0.10 none does."""


def targeted(config: Mapping[str, Any], model: nn.Module) -> list[str]:
    """Return the dotted names of the modules that a config puts its method on, in the model's order.

    A list of ``target_modules`` names modules by their whole names or by the ends of them, in whole components; a text
    is a regular expression for the whole name, or ``all-linear``: all but a language model's output layer and a
    sequence classifier's head. ``exclude_modules`` and ``modules_to_save`` take away, and of a list
    ``layers_to_transform`` keeps the blocks of these numbers.

    Raises:
        VxlabError: an expression is none.
    """
    wanted = config.get("target_modules")
    names = [name for name, _ in model.named_modules() if name]
    if isinstance(wanted, str) and wanted.lower() == ALL_LINEAR:
        wanted = _all_linear(config, model)
    saved = config.get("modules_to_save") or ()
    return [
        name
        for name in names
        if _names(wanted, name)
        and not _names(config.get("exclude_modules"), name)
        and not any(_match(rf"(^|.*\.){each}($|\..*)", name) for each in saved)
        and (isinstance(wanted, str) or name in (wanted or ()) or _is_in_block(config, name))
    ]


def saved_modules(config: Mapping[str, Any], model: nn.Module) -> list[str]:
    """Return the dotted names of the modules that a config saves whole, in the model's order.

    ``modules_to_save`` holds ends of names, and not in whole components; what lies in such a module is of it. A task
    adds its head.
    """
    ends = (*(config.get("modules_to_save") or ()), *_HEADS_BY_TASK.get(str(config.get("task_type")), ()))
    found: list[str] = []
    for name, _ in model.named_modules():
        if name and name.endswith(ends) and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    return found


def name_exactly(layers: Sequence[str], model: nn.Module, modules_to_save: Sequence[str]) -> list[str] | str:
    """Return the shortest ``target_modules`` that name these layers and no other module.

    The ends of their names as a list, which every program that reads such a config knows; else their whole names; else
    a regular expression.
    """
    ends = sorted({name.rpartition(".")[2] for name in layers})
    two = sorted({".".join(name.split(".")[-2:]) for name in layers})
    for names in (ends, two, list(layers)):
        found = targeted({"target_modules": names, "modules_to_save": list(modules_to_save)}, model)
        if {name for name in found if not any(name.startswith(f"{layer}.") for layer in layers)} == set(layers):
            return names
    return "|".join(map(re.escape, layers))


def pattern_of(name: str) -> str:
    """Return what ``rank_pattern`` and ``alpha_pattern`` take for this module alone.

    peft looks for a pattern at the end of a name; a caret pins it to the beginning too.
    """
    return f"^{re.escape(name)}"


def matching(patterns: Mapping[str, Any], name: str, otherwise: Any) -> Any:
    """Return what the first pattern that fits a module's name stands for, as peft looks it up."""
    return next((value for key, value in patterns.items() if _match(rf"(.*\.)?({key})$", name)), otherwise)


def _all_linear(config: Mapping[str, Any], model: nn.Module) -> list[str]:
    output = getattr(model, "get_output_embeddings", lambda: None)()
    heads = [getattr(model, name) for name in _HEADS if config.get("task_type") == "SEQ_CLS" and hasattr(model, name)]
    without = [output] if output is not None else heads[:1] if hasattr(model, "base_model_prefix") else []
    linear = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear) or is_conv1d(each)}
    return [name for name, each in linear.items() if not any(each is one for one in without)]


def _names(wanted: str | Collection[str] | None, name: str) -> bool:
    if isinstance(wanted, str):
        return _compiled(wanted).fullmatch(name) is not None
    return name in (wanted or ()) or any(name.endswith(f".{end}") for end in wanted or ())


def _is_in_block(config: Mapping[str, Any], name: str) -> bool:
    chosen = config.get("layers_to_transform")
    if chosen is None or chosen == []:
        return True
    patterns = config.get("layers_pattern") or ()
    index = _block_of(name, [patterns] if isinstance(patterns, str) else patterns)
    return index in (chosen if isinstance(chosen, list) else [chosen])


def _block_of(name: str, patterns: Iterable[str]) -> int | None:
    """Return the first number in a name that stands behind one of these components, or behind any."""
    for pattern in [rf"(?:^|.*?\.){each}\.(\d+)\." for each in patterns] or [r".*?\.[^.]*\.(\d+)\."]:
        if found := _compiled(pattern).match(name):
            return int(found[1])
    return None


def _match(pattern: str, name: str) -> bool:
    return _compiled(pattern).match(name) is not None


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise VxlabError(f"the adapter's config has {pattern!r}, which is no regular expression: {error}") from error
