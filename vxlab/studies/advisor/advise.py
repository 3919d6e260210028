"""Advise on ranks by layer from a few batches of gradients."""

from typing import Any

from vxlab.adapters import Family
from vxlab.experiments.store import Where
from vxlab.studies.advisor.advice import Advice


def advise(
    model: str,
    task: str,
    method: Family,
    budget: int | str | None = None,
    *,
    share: float | None = None,
    targets: str | tuple[str, ...] = "all-linear",
    batches: int | None = None,
    seed: int = 0,
    store: Where = None,
    progress: bool = True,
    **settings: Any,
) -> Advice:
    """Return which rank for which layer, before anything is trained."""
    raise NotImplementedError
