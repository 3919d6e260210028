"""Dropout on a GPU: a run's masks there are others in a stack than alone, and its key must say so."""

from dataclasses import replace

from torch import nn

from vxlab.adapters import Family
from vxlab.experiments.runs import Job, Materials

_NAME, _VALUE = "dropout", "masks run by run"
"""What the identity of a run holds whose masks are drawn for it alone, part by part of a stack's batch."""


def masks_differ(job: Job, materials: Materials) -> bool:
    """Say whether a run draws masks that it would not draw alone: on a GPU torch draws them inside its own kernels."""
    return job.device != "cpu" and _drops(job, materials)


def has_own_masks(job: Job) -> bool:
    """Say whether a run's key says that its masks are those of a stack."""
    return job.identity.get(_NAME) == _VALUE


def with_own_masks(job: Job) -> Job:
    """Return a run whose masks are those of a stack, and whose key says so: it is never trained in another way."""
    identity = job.identity | {_NAME: _VALUE}
    return replace(job, key=job.spec.key(**identity), identity=identity)


def _drops(job: Job, materials: Materials) -> bool:
    model, method = materials.base(job.spec), job.spec.method
    told = model.config.to_dict()  # type: ignore[operator, union-attr]
    named = any("drop" in name and _is_share(value) and value > 0 for name, value in told.items())
    modules = any(isinstance(each, nn.Dropout) and each.p > 0 for each in model.modules())
    return named or modules or (isinstance(method, Family) and method.dropout_probability > 0)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
