"""Where a method that is not vxlab's lives: its module, found again in workers and kernels, or named by a user."""

import importlib
import importlib.util
import operator
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

from vxlab.errors import VxlabError

Home = tuple[str, str | None]
"""A module's dotted name, and the folder from which it is imported; None where it has no file (a notebook)."""


def home_of(cls: type) -> Home:
    """Return where a class is defined."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None or cls.__module__ == "__main__":
        return cls.__module__, None
    depth = cls.__module__.count(".") + (Path(file).name == "__init__.py")
    return cls.__module__, str(Path(file).absolute().parents[depth])


def packed(method: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
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
    return unpacked, (home_of(cls), cls.__qualname__, values)


def unpacked(home: Home, name: str, values: dict[str, Any]) -> Any:
    """Rebuild a user's method, importing its module where that has not happened yet.

    Raises:
        VxlabError: the class is not found here.
    """
    from vxlab.adapters.methods.by_name import METHODS, register  # which stand on this file

    try:
        cls: Any = operator.attrgetter(name)(import_home(home))
    except (ImportError, AttributeError) as error:
        place = "a notebook or script" if home[0] == "__main__" else f"module {home[0]!r}"
        raise VxlabError(
            f"{name} is defined in {place} that this process does not have ({error}); put it into a .py file that it "
            "can import, or take engine='inline'"
        ) from error
    if cls.name not in METHODS:
        register(cls)
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


def import_methods(names: Sequence[str], folder: str | os.PathLike[str] = ".") -> None:
    """Import modules that register methods of a user's own.

    Args:
        names: of modules; or paths of .py files.
        folder: where modules and relative paths are looked for first; modules also where Python looks.

    Raises:
        VxlabError: one is not found, is named as another module, or raises.
    """
    for name in names:
        home = _home_named(name, Path(folder).expanduser().absolute())
        try:
            import_home(home)
        except VxlabError as error:
            raise VxlabError(f"import of {name!r}: {error}") from error
        except ModuleNotFoundError as error:
            if error.name == home[0].partition(".")[0]:
                raise VxlabError(
                    f"import of {name!r}: no such module in {Path(folder).absolute()} or where Python looks; give its "
                    "name or the path of its .py file"
                ) from error
            raise VxlabError(f"import of {name!r} failed: {error}") from error
        except Exception as error:  # whatever it raises, it is the user's own module that does
            raise VxlabError(f"import of {name!r} failed: {type(error).__name__}: {error}") from error


def _home_named(name: str, folder: Path) -> Home:
    if not name.endswith(".py") and "/" not in name and os.sep not in name:
        top = folder / name.partition(".")[0]
        here = top.is_dir() or top.with_suffix(".py").is_file()
        return name, str(folder) if here else None
    path = Path(os.path.abspath(folder / Path(name).expanduser()))
    if path.suffix != ".py" or not path.is_file():
        raise VxlabError(f"import of {name!r}: {path} is no .py file; give its path, or a module's name")
    if not path.stem.isidentifier() or _is_another(path):
        raise VxlabError(f"import of {name!r}: {path.stem!r} is no free name of a module; rename the file")
    return path.stem, str(path.parent)


def _is_another(path: Path) -> bool:
    """Say whether Python means another module by the file's name."""
    loaded = sys.modules.get(path.stem)
    found = getattr(loaded, "__file__", None) if loaded else getattr(_spec(path.stem), "origin", None)
    if loaded is None and found is None:
        return False
    return found is None or not os.path.exists(found) or not os.path.samefile(found, path)


def _spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
