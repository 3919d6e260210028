"""Which runs may train together, and why others train alone."""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any

from vxlab.adapters import Family, Head, Method
from vxlab.experiments.runs import Job, Materials
from vxlab.experiments.stacking.masks import has_own_masks, masks_differ

_OWN = ("method", "learning_rate", "head_learning_rate", "seed", "draw")
"""Fields of a spec in which runs that train together may differ."""


def reason_alone(job: Job, materials: Materials) -> str | None:
    """Return why a run cannot train together with others; None where it can.

    Args:
        job: the run.
        materials: where its task is.
    """
    spec, method = job.spec, job.spec.method
    if not materials.task(spec).kind.trains_head:
        return "its model answers in words"
    if not isinstance(method, Family | Head):
        return f"{method.name} is no family of adapters on linear layers"
    if isinstance(method, Family) and (method.needs_gradients or method.stores_bases):
        return "its bases follow from the run's own gradients"
    if spec.gradient_accumulation > 1 or spec.gradient_checkpointing:
        return "gradient_accumulation or gradient_checkpointing is on"
    if job.precision == "float16":
        return "precision='float16' scales its losses"
    if masks_differ(job, materials) and not has_own_masks(job):
        return "its masks of dropout would be others than alone on a GPU: say stack=N, and its key says so"
    return None


def common_to(job: Job) -> Hashable:
    """Return what runs that train together have in common.

    Of a family's settings those on which its tensors' names depend. Where what all layers share follows from the rank,
    as VeRA's pair does, it is the whole method: each slot would hold a pair of its own.
    """
    spec = job.spec
    rest = [(each.name, getattr(spec, each.name)) for each in dataclasses.fields(spec) if each.name not in _OWN]
    identity = tuple(sorted(job.identity.items()))
    return (repr(rest), identity, job.device, job.precision, type(spec.method), _parts(spec.method))


def _parts(method: Method) -> Hashable:
    if not isinstance(method, Family):
        return None
    if type(method).shared is not Family.shared:
        return method
    return tuple(getattr(method, name) for name in method.parts_follow_from)


def group_alike(jobs: Sequence[Job], materials: Materials) -> list[list[Job]]:
    """Return runs in groups that may train together, runs of one method next to each other; others in groups of one."""
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        kind = job.key if reason_alone(job, materials) else common_to(job)
        groups.setdefault(kind, []).append(job)
    return [sorted(group, key=lambda job: repr(job.spec.method)) for group in groups.values()]
