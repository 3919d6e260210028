"""Check settings at the door: every field of a dataclass is what its annotation says, or the error names it."""

import dataclasses
import functools
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vxlab.errors import VxlabError
from vxlab.mapping import FrozenMapping
from vxlab.words import nearest

_WORDS = {
    bool: ("True or False", "a list of them", "True"),
    int: ("a whole number", "a list of whole numbers", "8"),
    float: ("a number", "a list of numbers", "0.001"),
    str: ("a text", "a list of texts", "'name'"),
    NoneType: ("None", "", "None"),
    Mapping[str, int]: ("a mapping of names to whole numbers", "", "{'query': 8}"),
}
"""What each kind is called, a list of them, and an example."""
_UNFIT = object()
_LONGEST = 80
"""Characters of a value in an error."""


def settle_fields(settings: Any, owner: str = "") -> None:
    """Turn the fields of a dataclass into plain values of their annotated types, in place, or refuse one by its name.

    A NumPy scalar becomes Python's number or bool (a float32 the shortest decimal that stands for it), a path where a
    text is wanted a string, one value or any list where a tuple is wanted a tuple. A text is no number, a number no
    bool, and NaN and infinity are no numbers. A mapping of names to whole numbers can no longer be changed. Fields with
    other annotations (another mapping, a class) are left alone.

    Args:
        settings: an instance of a dataclass, frozen or not.
        owner: goes before the field's name in a message, such as ``"LoRA "``.

    Raises:
        VxlabError: a field is of another kind; the message names it, its value and what is wanted.
    """
    for name, annotation in annotations(settings.__class__).items():
        value = settle(f"{owner}{name}", getattr(settings, name), annotation)
        object.__setattr__(settings, name, value)


def settle(name: str, value: Any, annotation: Any) -> Any:
    """Return one value as its annotation says, or refuse it by its name, as :func:`settle_fields` does.

    >>> settle("text_columns", "review", tuple[str, ...])
    ('review',)
    """
    value = _plain(value)
    kinds = _alternatives(annotation)
    for kind in kinds:
        settled = _as(kind, value)
        if settled is not _UNFIT:
            return settled
    raise VxlabError(f"{name}={quote(value)} {_fault(value, kinds)}{_repair(name, value, kinds)}")


def quote(value: Any) -> str:
    """Return a value as an error shows it: on one line, and cut where it is long.

    >>> quote("a\\nb"), len(quote(list(range(1000))))
    ("'a\\\\nb'", 80)
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an integer of 5,000 digits has no text; and whatever a user's own class raises
        return f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def settle_list(name: str, value: Any, kind: type | tuple[type, ...], wanted: str) -> list[Any]:
    """Return the items of a list, or of whatever can be gone through, if all are of a kind; one alone is a list of it.

    Args:
        name: the argument's, for the error.
        value: what was given.
        kind: what every item must be.
        wanted: in words, for the error.

    Raises:
        VxlabError: it is no such list.

    >>> settle_list("ranks", (r for r in (2, 8)), int, "whole numbers")
    [2, 8]
    """
    if isinstance(value, kind):
        return [value]
    if isinstance(value, str | bytes | Mapping | type) or not isinstance(value, Iterable):
        raise VxlabError(f"{name}={quote(value)} is no list; give {wanted}")
    items = list(value)
    for item in items:
        if not isinstance(item, kind):
            raise VxlabError(f"{name} holds {quote(item)}; give {wanted}")
    return items


def require_known(names: Iterable[Any], known: Collection[str], where: str, what: str = "known") -> None:
    """Raise where a name is not known, with the nearest that is; ``what`` says of what these are."""
    for name in names:
        if name not in known:
            raise VxlabError(f"{where} {name!r}{nearest(name, known, what)}")


def require_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise where an argument's value is none of its choices."""
    if value not in choices:
        raise VxlabError(f"{name}={value!r} is unknown; choose one of {', '.join(map(str, choices))}")


def require_positive(name: str, value: float | None) -> None:
    """Raise unless an argument's value is None or a positive, finite number."""
    if value is not None and not 0 < value < math.inf:
        raise VxlabError(f"{name}={value!r} is not a positive number; choose one above 0")


def require_count(name: str, value: Any) -> None:
    """Raise unless an argument's value is a whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise VxlabError(f"{name}={value!r} is not a positive integer; choose 1 or more")


def loose_fields(cls: type) -> dict[str, Any]:
    """Return the annotations of a dataclass's fields that :func:`settle_fields` leaves alone, but for literals."""
    hints, known = _hints(cls), annotations(cls)
    return {name: each for name, each in hints.items() if name not in known and get_origin(each) is not Literal}


@functools.cache
def annotations(cls: type) -> dict[str, Any]:
    """Return the annotations of a dataclass's fields that :func:`settle` knows."""
    return {name: each for name, each in _hints(cls).items() if all(map(_is_known, _alternatives(each)))}


def _hints(cls: type) -> dict[str, Any]:
    """Return the annotations of the fields; of a class whose names cannot be looked up, none."""
    try:
        hints = get_type_hints(cls)
    except NameError:  # a class in a function, with annotations that are texts
        return {}
    fields = {field.name for field in dataclasses.fields(cls)}
    return {name: each for name, each in hints.items() if name in fields}


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _is_known(kind: Any) -> bool:
    return kind in _WORDS or (_item(kind) in _WORDS and get_args(kind)[1:] == (...,))


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as Python's own; ``float32(0.001)`` means 0.001 and not its binary neighbour."""
    if type(value).__module__ != "numpy" or getattr(value, "ndim", None) != 0:
        return value
    plain = value.item()
    return float(str(value)) if isinstance(plain, float) else plain


def _as(kind: Any, value: Any) -> Any:
    """Return a value as one kind, or _UNFIT."""
    if get_origin(kind) is tuple:
        return _as_tuple(get_args(kind)[0], value)
    if get_origin(kind) is Mapping:
        return _as_mapping(get_args(kind)[1], value)
    if kind in (bool, NoneType):
        return value if isinstance(value, kind) else _UNFIT
    if kind is str:
        return _as_text(value)
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return _UNFIT
    if kind is float and not _is_finite(value):
        return _UNFIT
    return int(value) if isinstance(value, Integral) else float(value)


def _as_text(value: Any) -> Any:
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    return str(path) if isinstance(path, str) else _UNFIT


def _is_finite(value: Real) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:  # an integer beyond the largest float
        return False


def _as_tuple(kind: Any, value: Any) -> Any:
    """Return the items of a list, tuple, array or the like; one item alone is a tuple of it."""
    alone = _as(kind, value)
    if alone is not _UNFIT:
        return (alone,)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Iterator):
        value = tuple(value)
    if not isinstance(value, Collection) or isinstance(value, str | bytes | Mapping):
        return _UNFIT
    items = tuple(_as(kind, _plain(item)) for item in value)
    if any(item is _UNFIT for item in items):
        return _UNFIT
    return tuple(sorted(items)) if isinstance(value, Set) else items  # a set of texts has another order every time


def _as_mapping(kind: Any, value: Any) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return _UNFIT
    items = {name: _as(kind, _plain(item)) for name, item in value.items()}
    return _UNFIT if any(item is _UNFIT for item in items.values()) else FrozenMapping(items)


def _fault(value: Any, kinds: tuple[Any, ...]) -> str:
    if isinstance(value, Real) and not _is_finite(value):
        found = "not finite"
    else:
        name = "text" if isinstance(value, str) else type(value).__name__
        found = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    wanted = [word for kind in kinds for word in _WORDS[_item(kind)][: 1 if kind is _item(kind) else 2]]
    return f"is {found}; it must be {' or '.join(dict.fromkeys(wanted))}"


def _repair(name: str, value: Any, kinds: tuple[Any, ...]) -> str:
    field, text = name.rpartition(" ")[2], (value if isinstance(value, str) else quote(value)).strip().lower()
    items = {_item(kind) for kind in kinds}
    if isinstance(value, str) and any(_reads_as(kind, text) for kind in items & {int, float}):
        return f": write {field}={text}, without quotes"
    if bool in items and text in ("false", "no", "off", "0", "true", "yes", "on", "1"):
        return f": write {field}={text in ('true', 'yes', 'on', '1')}"
    example = _WORDS[_item(kinds[0])][2]
    return f", such as {field}={example if kinds[0] in items else f'[{example}]'}"


def _item(kind: Any) -> Any:
    """Return what a tuple holds, and any other kind as it is."""
    return get_args(kind)[0] if get_origin(kind) is tuple else kind


def _reads_as(kind: Any, text: str) -> bool:
    try:
        return math.isfinite(kind(text))
    except ValueError:
        return False
