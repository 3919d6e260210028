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
    changed: frozenset[Place]
    """whose weight it changes in place, as RWKV's rescaling does, and would not change an adapter's update"""
    whole: frozenset[Place]
    """which it calls, goes through, hands on or gives a name, and not a part of theirs alone: it may call them"""


def readers(model: nn.Module, layer: str) -> Iterator[tuple[str, nn.Module, bool]]:
    """Yield the modules around a layer whose code reads its weight: names, themselves, if they may call it, too.

    >>> class Product(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.inner = nn.Linear(2, 2)
    ...     def forward(self, x):
    ...         return x @ self.inner.weight
    >>> [may_call for *_, may_call in readers(nn.Sequential(Product()), "0.inner")]
    [False]
    """
    parts = layer.split(".")
    for depth in range(len(parts)):
        above, path = ".".join(parts[:depth]), parts[depth:]
        cls: Any = type(model.get_submodule(above))
        uses = _uses(cls)
        if any(_is_at(place, path) for place in uses.read):
            around = [path[:length] for length in range(1, len(path) + 1)]  # what holds the layer may call it, too
            may_call = any(_is_at(place, each) for place in uses.whole for each in around)
            changes = any(_is_at(place, path) for place in uses.changed)
            yield above, model.get_submodule(above), may_call and not changes


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


@functools.cache
def _uses(cls: Any) -> Uses:
    methods = list(_own_methods(cls))
    # Few classes read a weight, and only these have to be parsed.
    if not any("weight" in method.__code__.co_names for method in methods):
        return Uses(frozenset(), frozenset(), frozenset())
    trees = [tree for method in methods if (tree := _parsed(method)) is not None]
    reads = [read for tree in trees for read in _read_places(tree)]
    return Uses(
        read=frozenset(place for place, _ in reads),
        changed=frozenset(place for place, then in reads if then.endswith("_") and then != "requires_grad_"),
        whole=frozenset(place for tree in trees for place in _whole_places(tree)),
    )


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


def _read_places(tree: ast.AST) -> Iterator[tuple[Place, str]]:
    """Yield whose weight is taken, and the weight's attribute that is then asked for."""
    for node, above in _with_parents(tree):
        if isinstance(node, ast.Attribute) and node.attr == "weight" and isinstance(node.ctx, ast.Load):
            then = above.attr if isinstance(above, ast.Attribute) else ""
            if then not in _OF_THE_SHAPE and not _asks(above) and (place := _place(node.value)) is not None:
                yield place, then


def _whole_places(tree: ast.AST) -> Iterator[Place]:
    for node, above in _with_parents(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and not _asks(above):
            a_part = isinstance(above, ast.Attribute) or (isinstance(above, ast.Subscript) and above.value is node)
            # What is picked out of a local variable may be anything.
            if not a_part and (place := _place(node)) is not None and (place[0] or {*place[1]} != {"*"}):
                yield place


def _with_parents(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    return ((child, node) for node in ast.walk(tree) for child in ast.iter_child_nodes(node))


def _asks(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ASKS


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
