"""Modules of a user's own, written into a folder and imported."""

import importlib
import sys
import textwrap
from pathlib import Path
from types import ModuleType

from places import SUPPORT

SOURCE = (SUPPORT / "toy_methods.py").read_text(encoding="utf-8")


def module(folder: Path, source: str, name: str = "mine") -> ModuleType:
    """Write a module and import it anew."""
    (folder / f"{name}.py").write_text(textwrap.dedent(source))
    sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
