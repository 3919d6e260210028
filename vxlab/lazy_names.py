"""Names that a package offers without loading the modules they are in before one is used."""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path


def offer_lazily(package: str, init: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__`` (PEP 562) for what it imports for type checkers alone.

    Each name stands once, in a block ``if TYPE_CHECKING:`` that type checkers and editors read, and so does this.

    Args:
        package: its ``__name__``; completion offers its ``__all__``.
        init: its ``__file__``.

    >>> load, names = offer_lazily("vxlab", sys.modules["vxlab"].__file__)
    >>> load("analysis").__name__, "analysis" in names()
    ('vxlab.analysis', True)
    """
    blocks = (node for node in ast.parse(Path(init).read_text(encoding="utf-8")).body if isinstance(node, ast.If))
    imports = (node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom))
    homes = {alias.name: node.module or "" for node in imports for alias in node.names}

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if homes[name] == package:  # one of its own packages
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(homes[name]), name)

    def names() -> list[str]:
        return list(sys.modules[package].__all__)

    return load, names
