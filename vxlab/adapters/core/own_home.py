"""Where a method that is not vxlab's lives: its module, found again in workers and kernels."""

import importlib
import importlib.util
import operator
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

from vxlab.errors import VxlabError

METHODS: dict[str, type[Any]] = {}
"""Every method's class by its name, as :mod:`vxlab.adapters.methods` fills it."""

Home = tuple[str, str | None]
"""A module's dotted name, and the folder from which it is imported; None where it has no file (a notebook)."""


def home_of(cls: type) -> Home:
    """Return where a class is defined."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None or cls.__module__ == "__main__":
        return cls.__module__, None
    depth = cls.__module__.count(".") + (Path(file).name == "__init__.py")
    return cls.__module__, str(Path(file).absolute().parents[depth])


def pack_method(method: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return how a user's method is pickled: by its settings and its module, which the reader need not have imported.

    Raises:
        VxlabError: its class is inside a function, where nobody else finds it.
    """
    cls = type(method)
    if "<locals>" in cls.__qualname__:
        raise VxlabError(
            f"{cls.__name__} is defined inside a function, where no other process finds it; define it at its module's "
            "top level"
        )
    values = {field.name: getattr(method, field.name) for field in fields(method)}
    return unpack_method, (home_of(cls), cls.__qualname__, values)


def unpack_method(home: Home, name: str, values: dict[str, Any]) -> Any:
    """Rebuild a user's method, importing its module where that has not happened yet.

    Raises:
        VxlabError: the class is not found here.
    """
    try:
        cls: Any = operator.attrgetter(name)(import_home(home))
    except (ImportError, AttributeError) as error:
        place = "a notebook or script" if home[0] == "__main__" else f"module {home[0]!r}"
        raise VxlabError(
            f"{name} is defined in {place} that this process does not have ({error}); put it into a .py file that it "
            "can import, or take engine='inline'"
        ) from error
    METHODS.setdefault(cls.name, cls)
    method = object.__new__(cls)
    for field, value in values.items():
        object.__setattr__(method, field, value)
    return method


def import_home(home: Home) -> ModuleType:
    """Import a module by its name, looking last in the folder that it came from."""
    name, folder = home
    if folder is not None and folder not in sys.path and name not in sys.modules:
        sys.path.append(folder)  # at the end, so that it hides nothing
        importlib.invalidate_caches()
    return importlib.import_module(name)
