"""A page for every package of vxlab, with what it offers, written from its face before Sphinx reads its sources.

A name that several packages offer is described once, where it takes fewest words to import, and the others link there.
No public name has two meanings in the house, so a reference finds what it means by its last word.
"""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.pycode import ModuleAnalyzer

import vxlab

FOLDER = "api"
_LONGEST_VALUE = 160  # characters


@dataclass(frozen=True)
class Offered:
    """What a package offers under one name.

    Args:
        package: its dotted name.
        name: of what it offers.
        value: what that is.
    """

    package: str
    name: str
    value: Any

    @property
    def path(self) -> str:
        """The dotted name to import it by."""
        return f"{self.package}.{self.name}"


def packages() -> Iterator[ModuleType]:
    """Yield vxlab and every package in it."""
    yield vxlab
    for each in pkgutil.walk_packages(vxlab.__path__, "vxlab."):
        if each.ispkg:
            yield importlib.import_module(each.name)


def offers(package: ModuleType) -> list[Offered]:
    """Return what a package offers, but for packages, which have pages of their own."""
    found = [Offered(package.__name__, name, getattr(package, name)) for name in package.__all__]
    return [each for each in found if not hasattr(each.value, "__path__")]


def homes() -> dict[str, Offered]:
    """Return by name where each that is offered is described: the shortest way to import it."""
    found: dict[str, Offered] = {}
    for package in packages():
        for each in offers(package):
            before = found.get(each.name)
            if before is None or each.package.count(".") < before.package.count("."):
                found[each.name] = each
    return found


def write_pages(app: Sphinx) -> None:
    """Write the page of every package, and the index of all; leave files alone that are as they should be."""
    folder = Path(app.srcdir, FOLDER)
    described = homes()
    pages = {each.__name__: _page(each, described) for each in packages()}
    texts = {f"{name}.rst": text for name, text in (pages | {"index": _index(sorted(pages))}).items()}
    folder.mkdir(exist_ok=True)
    for stray in set(folder.iterdir()) - {folder / name for name in texts}:
        stray.unlink()
    for name, text in texts.items():
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text:
            (folder / name).write_text(text, encoding="utf-8")


def _index(names: list[str]) -> str:
    listed = "\n".join(f"   {name}" for name in names)
    return f"""{_heading("API")}
Every package, and in it every name that it offers. What most people need is in :doc:`vxlab`. A name that two packages
offer is described once, where it takes fewest words to import. What is not here is a package's own, and may move.

.. toctree::
   :maxdepth: 1

{listed}
"""


def _page(package: ModuleType, described: dict[str, Offered]) -> str:
    own = [each for each in offers(package) if described[each.name].package == package.__name__]
    others = [described[each.name] for each in offers(package) if each not in own]
    parts = [_heading(package.__name__), inspect.getdoc(package) or ""]
    if others:
        links = ", ".join(f":py:obj:`{each.name} <{each.path}>`" for each in others)
        parts.append(f"Offered here too: {links}.")
    parts += [_entry(each) for each in sorted(own, key=lambda each: (not inspect.isclass(each.value), each.name))]
    return "\n\n".join(parts) + "\n"


def _heading(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"


def _entry(offered: Offered) -> str:
    if isinstance(offered.value, ModuleType):
        return f"{offered.name}\n{'-' * len(offered.name)}\n\n.. automodule:: {offered.value.__name__}"
    if inspect.isclass(offered.value):
        return f".. autoclass:: {offered.path}"
    if inspect.isroutine(offered.value):
        return f".. autofunction:: {offered.path}"
    told = "\n\n".join(f"   {line}" if line else "" for line in _described(offered).splitlines())
    return f".. py:data:: {offered.path}\n\n{told}"


def _described(offered: Offered) -> str:
    """Return what stands below a constant where it is defined, or else its value."""
    module = _origin(offered.package, offered.name)
    told = ModuleAnalyzer.for_module(module)
    told.analyze()
    lines = told.attr_docs.get(("", offered.name), [])
    return "\n".join(lines).strip() or _shown(offered.value)


def _shown(value: Any) -> str:
    """Return a value of one line, or of what is large the names in it."""
    if len(repr(value)) <= _LONGEST_VALUE or not isinstance(value, Mapping | Collection):
        return f"``{value!r}``"
    return f"{type(value).__name__} of {', '.join(f'``{each}``' for each in value)}"


def _origin(package: str, name: str) -> str:
    """Return the module that defines a constant which a package offers."""
    place = Path(str(importlib.import_module(package).__file__))
    face = place.with_suffix(".pyi")
    for node in ast.walk(ast.parse((face if face.is_file() else place).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and name in {each.asname or each.name for each in node.names}:
            module = f"{package}.{node.module}" if node.level else str(node.module)
            return _origin(module, name) if hasattr(importlib.import_module(module), "__path__") else module
    return package


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> Any:
    """Find what a reference means by its last words.

    What is defined in the house but offered by no package stays words, and so does every type in a signature that is
    not described here: only a reference that somebody wrote and that means nothing is an error.
    """
    if node.get("refdomain") != "py":
        return None
    domain = env.domains["py"]
    words = node["reftarget"].lstrip(".~").split(".")
    for count in range(len(words)):
        ending = "." + ".".join(words[count:])
        found = [name for name, entry in domain.objects.items() if name.endswith(ending) and not entry.aliased]
        if len(found) == 1:
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, content)
    return content if "refexplicit" not in node or words[-1] in _house() else None


@cache
def _house() -> frozenset[str]:
    """Return the name of every module, function, class, method and constant of vxlab, offered or not."""
    found: set[str] = {"vxlab"}
    for path in Path(vxlab.__file__).parent.rglob("*.py"):
        found.add(path.parent.name if path.name == "__init__.py" else path.stem)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {each.id for each in targets if isinstance(each, ast.Name)}
    return frozenset(found)


def escape_bars(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Keep the bars of ``|x|`` in a docstring from being read as a substitution's."""
    for number, line in enumerate(lines):
        parts = line.split("``")
        lines[number] = "``".join(part if i % 2 else part.replace("|", "\\|") for i, part in enumerate(parts))


def _plain_attribute(docstring: GoogleDocstring) -> list[str]:
    """Return an attribute's docstring as it stands: napoleon takes what is before a colon for its type."""
    lines: list[str] = docstring._consume_to_end()
    return lines


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx when to write the pages, and who resolves what it cannot."""
    GoogleDocstring._parse_attribute_docstring = _plain_attribute  # type: ignore[method-assign]
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
