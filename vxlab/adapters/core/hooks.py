"""Hooks of a layer that an adapter replaces or wraps: they go with the layer's place, and come back on detach."""

from torch import nn

_KINDS = tuple(name for name in nn.Module().__dict__ if "_hook" in name)
"""The attributes in which torch keeps a module's hooks: forward, backward and those of its state dict."""


def exchange_hooks(one: nn.Module, other: nn.Module) -> None:
    """Give each of two modules the other's hooks.

    The dictionaries themselves change hands, so that the handle that a hook's owner holds removes it wherever it is.
    """
    for kind in _KINDS:
        one.__dict__[kind], other.__dict__[kind] = other.__dict__[kind], one.__dict__[kind]
