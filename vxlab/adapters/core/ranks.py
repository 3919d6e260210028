"""Ranks by layer: which of them a layer has, named by its role, the end of its name, or its whole name."""

from collections.abc import Iterable, Mapping

from vxlab.adapters.core.roles import role_of
from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.words import list_in_words, nearest

_SHOWN = 3
"""Names that an error lists."""

Rank = int | Mapping[str, int]
"""One for all layers, or each layer's by name: a role, the end of a dotted name from a dot on, or a whole one."""


def rank_at(ranks: Mapping[str, int], layer: str, owner: str) -> int:
    """Return the rank of one layer: its whole name counts before an end of it, a longer end before its role.

    Args:
        ranks: by name.
        layer: the layer's dotted name.
        owner: whose ranks they are, for the error.

    Raises:
        VxlabError: none is for this layer.

    >>> rank_at({"query": 4, "layer.0.attention.self.query": 8}, "encoder.layer.0.attention.self.query", "LoRA")
    8
    """
    name = _named(ranks, layer)
    if name is None:
        role = role_of(layer)
        role_too = f"its role {role!r}, " if role else ""
        raise VxlabError(
            f"{owner} rank={quote(dict(ranks))} has none for `{layer}`, a target layer; add it by {role_too}its "
            "name or the end of it, or leave the layer out of targets"
        )
    return ranks[name]


def require_all_met(ranks: Mapping[str, int], layers: Iterable[str], owner: str) -> None:
    """Raise where a rank is for no layer, as one under a misspelt name is."""
    names = list(layers)
    met = {_named(ranks, layer) for layer in names}
    if idle := [name for name in ranks if name not in met]:
        ends = [role for layer in names if (role := role_of(layer))]
        further = [f"{len(idle) - _SHOWN} others"] if len(idle) > _SHOWN else []
        told = list_in_words([*map(repr, idle[:_SHOWN]), *further])
        raise VxlabError(
            f"{owner} rank={quote(dict(ranks))}: {told} {'is' if len(idle) == 1 else 'are'} of no target layer"
            f"{nearest(idle[0], [*dict.fromkeys(ends), *names])}"
        )


def _named(ranks: Mapping[str, int], layer: str) -> str | None:
    if layer in ranks:
        return layer
    if ends := [name for name in ranks if layer.endswith(f".{name}")]:
        return max(ends, key=len)
    role = role_of(layer)
    return role if role in ranks else None
