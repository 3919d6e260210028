"""An engine by its name."""

import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.engines.base import Engine
from vxlab.experiments.engines.inline import InlineEngine
from vxlab.experiments.engines.processes import ProcessEngine
from vxlab.words import nearest

ENGINES = ("inline", "processes", "ray")


def make_engine(name: str | Engine, workers: int | None = None, **options: Any) -> Engine:
    """Return an engine by its name; an engine passes through.

    Args:
        name: ``inline`` (this process), ``processes`` (this machine), or ``ray`` (this machine's GPUs, or a cluster).
        workers: how many jobs at once; None leaves it to the engine, by what the machine has.
        options: the engine's own; ``ray`` takes ``cpus_per_run``, ``gpus_per_run`` and ``shared_files``.

    Raises:
        VxlabError: the name or an option is unknown, the engine cannot have so many workers, or Ray is not installed.
    """
    if not isinstance(name, str):
        if isinstance(name, type) or not all(hasattr(name, each) for each in ("submit", "finished", "__enter__")):
            known = ", ".join(ENGINES)
            raise VxlabError(f"engine={quote(name)} is neither a name nor an engine; choose one of {known}")
        if workers is not None or options:
            given = ", ".join(["workers"] * (workers is not None) + list(options))
            raise VxlabError(f"{given}: the engine is made already; give these to {type(name).__name__} itself")
        return name
    maker = _maker(name)
    own = [option for option in inspect.signature(maker).parameters if option != "workers"]
    for option in options:
        if option not in own:
            raise VxlabError(f"engine={name!r} has no option {option!r}{nearest(option, own, 'its options')}")
    return maker(workers=workers, **options)


def _maker(name: str) -> Callable[..., Engine]:
    if name == "ray":
        if importlib.util.find_spec("ray") is None:
            raise VxlabError("engine='ray' needs Ray, which is not installed: pip install 'vxlab[ray]'")
        from vxlab.experiments.engines.ray_engine import RayEngine

        return RayEngine
    if name not in ENGINES:
        raise VxlabError(f"engine={name!r} is unknown{nearest(name, ENGINES)}")
    return InlineEngine if name == "inline" else ProcessEngine
