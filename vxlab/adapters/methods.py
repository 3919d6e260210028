"""Every way to fine-tune, by name."""

import dataclasses
from difflib import get_close_matches

from vxlab.adapters.ends import Full, Head
from vxlab.adapters.family import Method
from vxlab.adapters.lora import LoRA
from vxlab.adapters.lora_xs import LoRAXS
from vxlab.adapters.vera import VeRA
from vxlab.errors import VxlabError

METHODS: dict[str, type[Method]] = {cls.name: cls for cls in (LoRA, VeRA, LoRAXS, Head, Full)}
_ALIASES = {"elora": "vera"}


def method_from_name(name: str, **settings: object) -> Method:
    """Return a method by its name and settings.

    Args:
        name: ``lora``, ``vera`` (or ``elora``), ``lora_xs``, ``head`` or ``full``.
        settings: the fields of that method's class.

    Raises:
        VxlabError: the name or a setting is unknown (the nearest is named), or a setting is out of its range.

    >>> method_from_name("elora", rank=64)
    VeRA(rank=64, d_initial=0.1, seed=0)
    """
    cls = METHODS.get(_ALIASES.get(name, name))
    if cls is None:
        raise VxlabError(f"method={name!r} is unknown{_nearest(name, [*METHODS, *_ALIASES])}")
    known = [field.name for field in dataclasses.fields(cls)]
    for setting in settings:
        if setting not in known:
            raise VxlabError(f"method {cls.name!r} has no setting {setting!r}{_nearest(setting, known)}")
    return cls(**settings)


def _nearest(word: str, choices: list[str]) -> str:
    near = get_close_matches(word, choices, n=1, cutoff=0.5)
    listed = ", ".join(choices) or "none"
    return f"; did you mean {near[0]!r}? (known: {listed})" if near else f"; known: {listed}"
