"""A notebook's parameters: read from its tagged cell, and checked before anything runs.

A notebook declares them in the one code cell tagged ``parameters``, a line each:
``name: type = literal  # what it is, with its unit``. A type that may be None is written ``Optional[int]`` (as
papermill's own help reads it) or ``int | None``.
"""

import ast
import io
import math
import re
import tokenize
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

from vxlab.checks import require_known
from vxlab.errors import VxlabError
from vxlab.redact import redact, refuse_secret
from vxlab.views.reports.notebooks import load

_ACCEPTED: dict[str, type] = {"str": str, "bool": bool, "int": Integral, "float": Real}
_BUILT: dict[str, type] = {"str": str, "bool": bool, "int": int, "float": float}
_WANTED = {
    "str": "text",
    "bool": "true or false",
    "int": "a whole number such as 8",
    "float": "a number such as 1e-4",
    "list[int]": "whole numbers with commas between, such as 8,16",
    "list[str]": "names with commas between, such as query,value",
}
_HINTS = (*_WANTED, "int | None", "float | None", "str | None")
_OPTIONAL = re.compile(r"Optional\[(\w+)\]")
"""``Optional[int]`` is ``int | None``, in the words that papermill reads, too."""


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters cell."""

    name: str
    hint: str
    default: object
    help: str

    def row(self) -> dict[str, str]:
        """Return what a reader is shown; the default in the form in which the command line takes it."""
        return {"name": self.name, "type": self.hint, "default": as_text(self.default), "help": self.help}


def read(notebook: Path) -> dict[str, Parameter]:
    """Return a notebook's parameters by name, in their order, without running anything.

    Raises:
        VxlabError: the notebook has no cell tagged ``parameters``, or a line of it has another form than
            ``name: type = literal  # help``.
    """
    source = _tagged_source(notebook)
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise VxlabError(f"{notebook.name}: line {error.lineno} of the parameters cell is no Python: {error}") from None
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    found = (_parameter(statement, comments, notebook.name) for statement in statements)
    return {parameter.name: parameter for parameter in found if parameter}


def check(notebook: Path, given: Mapping[str, object]) -> dict[str, object]:
    """Return the given values in their hinted types, in the notebook's order.

    A whole number is fine for ``float``; a bool is no number; a tuple is fine for a list.

    Raises:
        VxlabError: an unknown name, with the nearest named and all listed, a value of another type, or a text that
            holds a password or a token: a report keeps its parameters.
    """
    known = read(notebook)
    require_known(given, known, f"{notebook.name} has no parameter", "it has")
    return {name: _checked(name, given[name], known[name].hint) for name in known if name in given}


def from_text(notebook: Path, texts: Mapping[str, str]) -> dict[str, object]:
    """Return the command line's texts in the types that the notebook's parameters have.

    Raises:
        VxlabError: an unknown name, or text that is not of the hinted type.
    """
    known = read(notebook)
    values: dict[str, object] = {}
    require_known(texts, known, f"{notebook.name} has no parameter", "it has")
    for name, text in texts.items():
        refuse_secret(f"parameter {name}", text)
        try:
            values[name] = parse(text, known[name].hint)
        except VxlabError as error:
            raise VxlabError(f"parameter {name}: {error}") from None
    return values


def shared_from_text(notebooks: Sequence[Path], texts: Mapping[str, str]) -> list[dict[str, object]]:
    """Return for each notebook, in its types, the command line's texts that it has a parameter for.

    Raises:
        VxlabError: a name that no notebook has a parameter of, or text that is not of the hinted type.
    """
    known = {notebook: read(notebook) for notebook in notebooks}
    every = {name: parameter for each in known.values() for name, parameter in each.items()}
    owners = ", ".join(notebook.name for notebook in notebooks)
    require_known(texts, every, f"{owners} has no parameter", "it has")
    return [
        from_text(notebook, {name: text for name, text in texts.items() if name in known[notebook]})
        for notebook in notebooks
    ]


def parse(text: str, hint: str) -> object:
    """Turn text into the hinted type, by the hint and never by guessing.

    >>> parse("007", "str"), parse("1e-4", "float"), parse("none", "int | None"), parse("q,v", "list[str]")
    ('007', 0.0001, None, ['q', 'v'])

    Raises:
        VxlabError: the text is not of that type.
    """
    base, optional = _split(hint)
    if optional and text.strip().lower() == "none":
        return None
    try:
        return _parse_base(text, base)
    except ValueError:
        raise VxlabError(f"{text!r} is not of type {hint}; give {_wanted(hint)}") from None


def as_text(value: object) -> str:
    """Return a value in the form that :func:`parse` reads.

    >>> as_text(None), as_text(True), as_text([8, 16]), as_text(1e-4)
    ('none', 'true', '8,16', '0.0001')
    """
    if isinstance(value, list):
        return ",".join(map(as_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _parse_base(text: str, base: str) -> object:
    if not base.startswith("list["):
        return _READERS[base](text)
    if text.lstrip().startswith("["):
        raise ValueError("a list is written without brackets")
    return [_parse_base(item.strip(), base[5:-1]) for item in text.split(",") if item.strip()]


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError("not finite")
    return value


def _true_or_false(text: str) -> bool:
    if text.strip().lower() not in ("true", "false"):
        raise ValueError("neither true nor false")
    return text.strip().lower() == "true"


_READERS: dict[str, Callable[[str], object]] = {"str": str, "bool": _true_or_false, "int": int, "float": _finite}


def _checked(name: str, value: object, hint: str) -> object:
    try:
        converted = _convert(value, hint)
    except TypeError:
        told = redact(f"{name}={value!r}")
        raise VxlabError(f"parameter {told} is not of type {hint}; give {_wanted(hint)}") from None
    for each in converted if isinstance(converted, list) else [converted]:
        refuse_secret(f"parameter {name}", each if isinstance(each, str) else "")
    return converted


def _convert(value: object, hint: str) -> object:
    base, optional = _split(hint)
    if value is None and optional:
        return None
    if base.startswith("list[") and isinstance(value, list | tuple):
        return [_convert(item, base[5:-1]) for item in value]
    # Python counts bool among the integers; a parameter does not.
    if isinstance(value, _ACCEPTED.get(base, ())) and isinstance(value, bool) == (base == "bool"):
        return _BUILT[base](value)
    raise TypeError


def _split(hint: str) -> tuple[str, bool]:
    return hint.removesuffix(" | None"), hint.endswith(" | None")


def _wanted(hint: str) -> str:
    base, optional = _split(hint)
    return _WANTED[base] + (", or none" if optional else "")


def _tagged_source(notebook: Path) -> str:
    for cell in load(notebook).cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            return str(cell.source)
    raise VxlabError(f"{notebook} has no code cell tagged 'parameters'; tag the cell that sets its parameters")


def _parameter(statement: ast.stmt, comments: Mapping[int, str], notebook: str) -> Parameter | None:
    """Return the parameter that a statement sets; None for a statement that sets no name (an import, a docstring)."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
    if not isinstance(target, ast.Name) or not isinstance(statement, ast.Assign | ast.AnnAssign):
        return None
    where = f"{notebook}: parameter {target.id}"
    try:
        default = ast.literal_eval(statement.value or "")
    except (ValueError, TypeError, SyntaxError):
        raise VxlabError(f"{where} has no literal default; write `{target.id}: type = literal  # help`") from None
    hint = ast.unparse(statement.annotation) if isinstance(statement, ast.AnnAssign) else type(default).__name__
    hint = _OPTIONAL.sub(r"\1 | None", hint)
    if hint not in _HINTS:
        raise VxlabError(f"{where} has type {hint}; use one of {', '.join(_HINTS)}")
    help_text = comments.get(statement.end_lineno or 0, "")
    return Parameter(target.id, hint, _checked(target.id, default, hint), help_text)
