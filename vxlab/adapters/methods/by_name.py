"""Every way to fine-tune, by name: vxlab's, and those that users register."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from vxlab.adapters.core import METHODS, Method, code_version, is_own
from vxlab.adapters.families import Base, BitFit, Full, Head, LiDB, LoRA, LoRAXS, Probe, VeRA
from vxlab.adapters.peft import PEFT
from vxlab.checks import loose_fields, require_known, settle
from vxlab.errors import VxlabError
from vxlab.words import nearest

METHODS.update({cls.name: cls for cls in (LoRA, VeRA, LoRAXS, LiDB, Base, BitFit, Head, Probe, Full)})
_ALIASES = {"elora": "vera"}

Own = TypeVar("Own", bound=type[Method])


def register(cls: Own) -> Own:
    """Make a method of your own known by its name, as ``vera`` is: to load, in YAML, on the command line, in explorers.

    Use it as a decorator above ``@dataclass(frozen=True)``, in a module that others can import (``--import``, or
    ``imports:`` in YAML). Registering the class again, from a reloaded module or cell, replaces it. A run's key holds
    the class's code, so changed code trains anew. A family takes ranks by layer where its field says so: ``rank: Rank``
    in place of ``rank: int`` (:class:`Family`).

    Args:
        cls: a subclass of :class:`Family`, or of :class:`Method`, whose fields are its settings.

    Returns:
        The same class.

    Raises:
        VxlabError: it is no such class or an abstract one, it has no name of its own, or a field is no setting that
            JSON holds.

    >>> from dataclasses import dataclass
    >>> @register
    ... @dataclass(frozen=True)
    ... class Halved(LoRA):
    ...     name = "halved"
    >>> method_from_name("halved", rank=4)
    Halved(rank=4, alpha=None, rank_stabilised=False, dropout=0.0, trains='both', seed=0)
    >>> del METHODS["halved"]
    """
    if fault := next(_faults(cls), ""):
        raise VxlabError(f"vxlab.register({getattr(cls, '__name__', repr(cls))}): {fault}")
    for name in [name for name, known in METHODS.items() if name != cls.name and _is_again(known, cls)]:
        del METHODS[name]  # it has another name now
    METHODS[cls.name] = cls
    return cls


def method_from_name(name: str, /, **settings: object) -> Method:
    """Return a method by its name and settings.

    Args:
        name: ``lora``, ``vera`` (or ``elora``), ``lora_xs``, ``lidb``, ``bitfit``, ``head``, ``probe``, ``base`` or
            ``full``; a method of the peft library, such as ``peft:dora``; or one that was registered.
        settings: the fields of that method's class; of peft's config.

    Raises:
        VxlabError: the name or a setting is unknown (the nearest is named), a setting is missing, or one is out of
            its range.

    >>> method_from_name("elora", rank=64) == VeRA(rank=64)
    True
    """
    name = settle("method", name, str)
    if name.startswith("peft:"):
        return PEFT(name.removeprefix("peft:"), settings)
    cls = METHODS.get(_ALIASES.get(name, name))
    if cls is None:
        raise VxlabError(
            f"method={name!r} is unknown{nearest(name, [*METHODS, *_ALIASES])}; one of your own: import the module "
            "that gives it to vxlab.register, by --import or imports: in YAML"
        )
    own = [field for field in dataclasses.fields(cls) if field.init]
    require_known(settings, [field.name for field in own], f"method {cls.name!r} has no setting")
    none = dataclasses.MISSING
    missing = [f.name for f in own if f.name not in settings and f.default is none and f.default_factory is none]
    if missing:
        raise VxlabError(f"method {cls.name!r} needs {' and '.join(missing)}, for which it has no default")
    method: Method = cls(**settings)
    return method


def require_registered(method: Method) -> None:
    """Raise where nothing could load what a method trained, because its class is not known by its name."""
    known = METHODS.get(method.name)
    if isinstance(method, PEFT) or known is type(method) or (known and _is_same(known, type(method))):
        return
    cls = type(method).__name__
    raise VxlabError(
        f"{cls} is not registered, so what it trains could not be loaded again; write @vxlab.register above its "
        f"@dataclass(frozen=True), or call vxlab.register({cls})"
    )


def _faults(cls: Any) -> Iterator[str]:
    """Yield what keeps a class from being registered, with what to do."""
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        yield "not a method; give a class on vxlab.adapters.Family or Method"
    if "__dataclass_fields__" not in vars(cls):
        yield "not a dataclass; write @dataclass(frozen=True) above the class, below @vxlab.register"
    if inspect.isabstract(cls):
        yield f"the class is not whole; define {', '.join(sorted(cls.__abstractmethods__))}"
    if not cls.by_gradient and not issubclass(cls, Base | Probe):
        yield "by_gradient=False, and of these only Base and Probe can be run; leave it out"
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        what = "has no name" if name is None or isinstance(name, property) else f"name={name!r}"
        yield (
            f"{what}; write name: ClassVar[str] = 'my_method', in lower-case letters, digits and _ (a method of the "
            "peft library needs no registering)"
        )
    taken = METHODS.get(_ALIASES.get(cls.name, cls.name))
    if taken is not None and not _is_same(taken, cls):
        yield f"name={name!r} is {taken.__module__}.{taken.__qualname__}'s; choose another name"
    hidden = [field.name for field in dataclasses.fields(cls) if not field.init]
    for field, kind in (loose_fields(cls) | dict.fromkeys(hidden, "init=False")).items():
        told = kind.__name__ if isinstance(kind, type) else kind
        yield (
            f"field {field!r} ({told}) is no setting that JSON holds; use bool, int, float, str, None, or tuples of "
            "one of them"
        )


def _is_same(known: type[Method], cls: type[Method]) -> bool:
    """Say whether two classes are one, defined again or read from one file under two names of its module."""
    if known is cls or _is_again(known, cls):
        return True
    return known.__qualname__ == cls.__qualname__ and is_own(known) and code_version(known) == code_version(cls)


def _is_again(known: type[Method], cls: type[Method]) -> bool:
    return is_own(known) and (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)
