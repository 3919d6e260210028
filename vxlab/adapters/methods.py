"""Every way to fine-tune, by name."""

import dataclasses

from vxlab.adapters.ends import BitFit, Full, Head
from vxlab.adapters.family import Method, nearest
from vxlab.adapters.lidb import LiDB
from vxlab.adapters.lora import LoRA
from vxlab.adapters.lora_xs import LoRAXS
from vxlab.adapters.peers import PEFT
from vxlab.adapters.vera import VeRA
from vxlab.errors import VxlabError

METHODS: dict[str, type[Method]] = {cls.name: cls for cls in (LoRA, VeRA, LoRAXS, LiDB, BitFit, Head, Full)}
_ALIASES = {"elora": "vera"}


def method_from_name(name: str, **settings: object) -> Method:
    """Return a method by its name and settings.

    Args:
        name: ``lora``, ``vera`` (or ``elora``), ``lora_xs``, ``lidb``, ``bitfit``, ``head`` or ``full``; or a
            method of the peft library, such as ``peft:dora``.
        settings: the fields of that method's class; of peft's config.

    Raises:
        VxlabError: the name or a setting is unknown (the nearest is named), or a setting is out of its range.

    >>> method_from_name("elora", rank=64) == VeRA(rank=64)
    True
    """
    if name.startswith("peft:"):
        return PEFT(name.removeprefix("peft:"), settings)
    cls = METHODS.get(_ALIASES.get(name, name))
    if cls is None:
        raise VxlabError(f"method={name!r} is unknown{nearest(name, [*METHODS, *_ALIASES])}")
    known = [field.name for field in dataclasses.fields(cls)]
    for setting in settings:
        if setting not in known:
            raise VxlabError(f"method {cls.name!r} has no setting {setting!r}{nearest(setting, known)}")
    return cls(**settings)
