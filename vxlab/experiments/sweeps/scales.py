"""What a scale chooses for runs, sweeps and studies where nothing else is chosen: ``data/scales.toml``."""

import tomllib
from functools import cache
from typing import Any

from vxlab.checks import require_choice
from vxlab.paths import shipped_path

SCALES = ("smoke", "small", "paper")


def scale_settings(what: str, scale: str) -> dict[str, Any]:
    """Return what a scale chooses for something, lists as tuples; empty where it chooses nothing.

    Args:
        what: the table in ``data/scales.toml``, such as ``sweep.budget``.
        scale: ``smoke``, ``small`` or ``paper``.

    Raises:
        VxlabError: the scale is unknown.

    >>> scale_settings("sweep.ranks", "smoke")["vera"]
    (4, 8)
    """
    require_choice("scale", scale, SCALES)
    return dict(presets(what).get(scale, {}))


def presets(what: str) -> dict[str, Any]:
    """Return a table of ``data/scales.toml`` by its dotted name, to be read only."""
    found: dict[str, Any] = _whole()
    for part in what.split("."):
        found = found[part]
    return found


@cache
def _whole() -> Any:
    return _with_tuples(tomllib.loads(shipped_path("data", "scales.toml").read_text(encoding="utf-8")))


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_tuples(each) for name, each in value.items()}
    return tuple(value) if isinstance(value, list) else value
