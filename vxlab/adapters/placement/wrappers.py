"""Models inside what torch wraps around them for several devices or for its compiler."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from vxlab.checks import quote
from vxlab.errors import VxlabError

_INSIDE = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}
"""Where torch's wrappers keep the model, by their class: torch.compile's own and FSDP are slow to import."""
_SHARES_OUT = ("DistributedDataParallel", "FullyShardedDataParallel")


def bare(model: nn.Module) -> nn.Module:
    """Return the model inside DataParallel, DistributedDataParallel and torch.compile's wrapper, else the model.

    >>> inside = nn.Linear(2, 2)
    >>> bare(nn.DataParallel(inside)) is inside
    True
    """
    *_, inmost = _unwrapped(model)
    return inmost


def require_before_sharing_out(model: nn.Module) -> None:
    """Refuse a wrapper that has shared out the parameters among processes: it would leave new ones out."""
    for each in _unwrapped(model):
        if (wrapper := type(each).__name__) in _SHARES_OUT:
            raise VxlabError(
                f"the model is inside {wrapper}, which shares out the parameters that it met first, so that adapters "
                "would train apart in every process; attach to model.module, then wrap it"
            )


def require_model(model: object) -> None:
    """Refuse what is no model, such as a model's name."""
    if not isinstance(model, nn.Module):
        raise VxlabError(f"model={quote(model)} is no torch.nn.Module; load it first, such as by vxlab.load_model")


def _unwrapped(model: nn.Module) -> Iterator[nn.Module]:
    require_model(model)
    inner: Any = model
    yield inner
    while type(inner).__module__.startswith("torch.") and type(inner).__name__ in _INSIDE:
        inner = getattr(inner, _INSIDE[type(inner).__name__])
        yield inner
