"""Modules with methods of a user's own: imported by name or path, and in the processes that are started here."""

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vxlab.adapters.core import METHODS, Home, home_of, import_home, is_own
from vxlab.errors import VxlabError

PASSED_ON = "VXLAB_IMPORT"
"""The environment variable by which vxlab tells a process that it starts what to import."""


def pass_on_imports() -> dict[str, str]:
    """Return the variables by which another process registers the methods of a user's that are registered here."""
    homes = dict.fromkeys(home_of(cls) for cls in METHODS.values() if is_own(cls))
    with_files = [home for home in homes if home[1] is not None]
    return {PASSED_ON: json.dumps(with_files)} if with_files else {}


def import_passed_on() -> None:
    """Import the modules that the process which started this one passed on.

    Raises:
        VxlabError: one of them raises.
    """
    for name, folder in json.loads(os.environ[PASSED_ON]):
        try:
            import_home((name, folder))
        except Exception as error:  # whatever it raises, it is the user's own module that does
            raise VxlabError(f"import of {name!r} failed: {type(error).__name__}: {error}") from error


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
