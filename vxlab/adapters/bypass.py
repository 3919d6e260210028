"""Layers whose weight another module reads without calling them: an adapter there would be passed over in silence."""

import ast
import functools
import inspect
import re
import textwrap
import threading
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import nn

from vxlab.errors import VxlabError

_BASES = ("torch.nn.modules.module", "transformers.modeling_utils", "transformers.generation", "transformers.utils")
"""Modules whose classes compute nothing of a model's own."""
_NOT_COMPUTING = re.compile(r"init|tie_|reset_parameters|state_dict|resize")
_OF_THE_SHAPE = {"dtype", "device", "shape", "size", "ndim", "dim", "numel", "is_meta", "requires_grad"}
_ASKS = {"isinstance", "hasattr", "type"}

Place = tuple[bool, tuple[str, ...]]
"""Whether a chain of attributes begins at ``self``, and the chain, with ``*`` for what an index picks."""


class Uses(NamedTuple):
    """What a class's own code does with layers, as far as its source shows."""

    read: frozenset[Place]
    """whose weight it takes"""
    called: frozenset[Place]


def readers(model: nn.Module, layer: str) -> Iterator[tuple[str, nn.Module, bool]]:
    """Yield the modules around a layer whose code reads its weight: their names, themselves, and if they call it too.

    >>> class Product(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.inner = nn.Linear(2, 2)
    ...     def forward(self, x):
    ...         return x @ self.inner.weight
    >>> [called for *_, called in readers(nn.Sequential(Product()), "0.inner")]
    [False]
    """
    parts = layer.split(".")
    for depth in range(len(parts)):
        above, path = ".".join(parts[:depth]), parts[depth:]
        uses = _uses(type(model.get_submodule(above)))
        if any(_is_at(place, path) for place in uses.read):
            yield above, model.get_submodule(above), any(_is_at(place, path) for place in uses.called)


def guard_calls(model: nn.Module, layers: Iterable[str]) -> None:
    """Raise in the forward pass where a module that may read a layer's weight did so and did not call the layer."""
    for layer in layers:
        for _, reader, _ in readers(model, layer):
            watch = _Watch(layer, type(reader).__name__)
            reader.register_forward_pre_hook(watch.begin)
            model.get_submodule(layer).register_forward_pre_hook(watch.note)
            reader.register_forward_hook(watch.end)


def lift_guards(model: nn.Module) -> None:
    """Undo :func:`guard_calls`."""
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key in [key for key, hook in hooks.items() if isinstance(getattr(hook, "__self__", None), _Watch)]:
                del hooks[key]


class _Watch:
    """Hooks that tell whether a layer was called while the module that may read its weight ran."""

    def __init__(self, layer: str, reader: str) -> None:
        self.layer, self.reader = layer, reader
        self.called: dict[int, bool] = {}
        """by thread: DataParallel runs its copies in several"""

    def begin(self, module: nn.Module, args: Any) -> None:
        self.called[_thread()] = False

    def note(self, module: nn.Module, args: Any) -> None:
        self.called[_thread()] = True

    def end(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self.called.pop(_thread(), True):
            raise VxlabError(
                f"{self.reader} read the weight of `{self.layer}` without calling the layer, so its adapter had no "
                "effect; choose other targets"
            )


def _thread() -> int:
    # While torch.compile traces there is one, and no way to ask which.
    return 0 if torch.compiler.is_compiling() else threading.get_ident()


def _uses(cls: Any) -> Uses:
    return _uses_by_class(cls)


@functools.cache
def _uses_by_class(cls: Any) -> Uses:
    methods = list(_own_methods(cls))
    # Few classes read a weight, and only these have to be parsed.
    if not any("weight" in method.__code__.co_names for method in methods):
        return Uses(frozenset(), frozenset())
    trees = [tree for method in methods if (tree := _parsed(method)) is not None]
    read = frozenset(place for tree in trees for place in _read_places(tree))
    calls = (node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    return Uses(read, frozenset(place for call in calls if (place := _place(call)) is not None))


def _own_methods(cls: type) -> Iterator[FunctionType]:
    """Yield the methods that an instance has of a model's own classes, without those that make or load weights."""
    for name in dir(cls):
        method = inspect.unwrap(inspect.getattr_static(cls, name))
        own = isinstance(method, FunctionType) and not method.__module__.startswith(_BASES)
        if own and not _NOT_COMPUTING.search(name):
            yield method


def _parsed(method: FunctionType) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(method)))
    except (OSError, TypeError, SyntaxError):  # made without a file, or by exec
        return None


def _read_places(tree: ast.AST) -> Iterator[Place]:
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "weight" and isinstance(node.ctx, ast.Load):
            above = parents.get(node)
            if isinstance(above, ast.Attribute) and above.attr in _OF_THE_SHAPE:
                continue
            if isinstance(above, ast.Call) and isinstance(above.func, ast.Name) and above.func.id in _ASKS:
                continue
            if (place := _place(node.value)) is not None:
                yield place


def _place(node: ast.expr) -> Place | None:
    """Return where an expression such as ``self.layers[i].dense`` points, or None where it is another kind."""
    chain: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        chain.insert(0, node.attr if isinstance(node, ast.Attribute) else "*")
        node = node.value
    return (node.id == "self", tuple(chain)) if isinstance(node, ast.Name) and chain else None


def _is_at(place: Place, path: list[str]) -> bool:
    from_self, chain = place
    end = path if from_self else path[-len(chain) :]
    return len(end) == len(chain) and all(a in ("*", b) for a, b in zip(chain, end, strict=True))
