"""The code of a method that is not vxlab's, as one number: changed code is another run, and another adapter."""

import dataclasses
import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import Tensor

from vxlab.adapters.core.fingerprint import weights_fingerprint

_WRITTEN_BY_DATACLASSES = ("__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__")
_NEVER_OWN = {"", "vxlab", "torch", "transformers", "numpy", *sys.stdlib_module_names}


def is_own(code: type | Callable[..., Any]) -> bool:
    """Say whether a class or a function is a user's, and not vxlab's."""
    return _top(code) != "vxlab"


def code_version(code: type | Callable[..., Any]) -> dict[str, str]:
    """Return the sha256 of the code of a user's class or function, as ``{"code": ...}``; nothing for one of vxlab's.

    It covers the methods of the class and of its bases outside vxlab, and what they name of the user's modules:
    functions, classes, numbers, texts, tensors and containers of plain values, directly or through each other. It is
    of the code as Python runs it: comments, docstrings and layout are not in it, and Python's version is; so it needs
    no source, and what counts is the code that is loaded and not the file as it lies there now.
    """
    if not is_own(code):
        return {}
    walk = _Walk(_top(code))
    walk.add("", code)
    text = json.dumps([list(sys.version_info[:2]), sorted(walk.parts)])
    return {"code": hashlib.sha256(text.encode()).hexdigest()}


class _Walk:
    """Everything of a user's that some code reaches by name.

    Args:
        home: the top-level package that counts as the user's also where it is installed.
    """

    def __init__(self, home: str) -> None:
        self.home = home
        self.parts: set[str] = set()
        self._seen: set[int] = set()

    def add(self, name: str, value: Any) -> None:
        """Add a value under its name: code, and what it leads to; or what has a plain form."""
        if isinstance(value, classmethod | staticmethod):
            value = value.__func__
        if isinstance(value, property):
            for function in (value.fget, value.fset):
                self.add(name, function)
        elif isinstance(value, functools.cached_property):
            self.add(name, value.func)
        elif isinstance(value, functools.partial):
            self.add(name, value.func)
            self.add(name, [value.args, value.keywords])
        elif isinstance(value, FunctionType):
            self._add_function(value)
        elif isinstance(value, type):
            self._add_class(value)
        elif (plain := _plain(value)) is not None:
            self.parts.add(f"{name} = {plain}")

    def _add_class(self, cls: type) -> None:
        if id(cls) in self._seen or not self._owns(cls):
            return
        self._seen.add(id(cls))
        self.parts.add(f"class {cls.__qualname__}({', '.join(base.__qualname__ for base in cls.__bases__)})")
        for base in cls.__bases__:
            self.add("", base)
        settings = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
        for name, value in vars(cls).items():
            if name in settings:
                continue  # a default, which counts where it is in force: among the run's settings
            if isinstance(value, FunctionType | property | classmethod | staticmethod) or not _is_dunder(name):
                self.add(f"{cls.__qualname__}.{name}", value)

    def _add_function(self, function: FunctionType) -> None:
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        inner = inspect.unwrap(function)
        code = getattr(inner, "__code__", function.__code__)
        if code.co_filename == "<string>" and code.co_name in _WRITTEN_BY_DATACLASSES:
            return
        if inner is not function:  # a decorator's: what it is matters, and what it wraps
            self.parts.add(f"{function.__qualname__} around {inner.__qualname__}")
            self.add("", inner)
        if not self._owns(function):
            return
        told = _told(function.__code__, function.__doc__)
        self.parts.add(f"def {function.__qualname__}: {told}")
        self.add(f"{function.__qualname__} defaults", [function.__defaults__, function.__kwdefaults__])
        for name, value in _reached(function):
            self.add(name, value)

    def _owns(self, thing: Any) -> bool:
        return _belongs(_top(thing), self.home)


def _reached(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function names: in its module, in the user's other modules that it names, and around it."""
    names = [name for name in _names(function.__code__) if not _is_dunder(name)]
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            if _belongs(value.__name__.partition(".")[0], _top(function)):
                yield from ((each, getattr(value, each)) for each in names if hasattr(value, each))
        else:
            yield name, value
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def _told(code: CodeType, docstring: str | None) -> str:
    """Return all of a code object that decides what it does, as text: no line numbers, file names or docstring."""
    consts = [None if docstring is not None and each == docstring else each for each in code.co_consts]
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return f"{code.co_code.hex()} {counts} {names} {[_constant(each) for each in consts]}"


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return _told(value, None)
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    if isinstance(value, frozenset):  # whose order differs from process to process
        return f"{{{', '.join(sorted(map(_constant, value)))}}}"
    return repr(value)


def _plain(value: object) -> str | None:
    """Return a value that has a plain form as text, else None."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        return weights_fingerprint({"": value})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return None


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _top(thing: Any) -> str:
    # Of a function, where its code is: decorators give what they return the module of what they wrap.
    globals_ = getattr(thing, "__globals__", {})
    return str(globals_.get("__name__") or getattr(thing, "__module__", None) or "").partition(".")[0]


def _belongs(top: str, home: str) -> bool:
    """Say whether a top-level module is a user's: not Python's, and not installed but for the given one."""
    if top in _NEVER_OWN:
        return False
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    return top == home or not ("site-packages" in file or "dist-packages" in file)
