"""Whether a spec suits the kind of its task: its method, its rates, and the fields of models that write."""

import dataclasses
from typing import Any

from vxlab.adapters import Base, Head, Probe
from vxlab.errors import VxlabError
from vxlab.experiments import OF_DECODING, OF_IMAGES, OF_WRITING, RunSpec
from vxlab.experiments.tasks.kinds import Kind

_USUAL: dict[str, Any] = {each.name: each.default for each in dataclasses.fields(RunSpec)}


def suit_kind(spec: RunSpec, kind: Kind) -> RunSpec:
    """Return a spec without what its kind has no use for: where there is no new head its rate, of images the tokens.

    Raises:
        VxlabError: the method is for another kind of task, the head's rate is lacking, or a field is set that enters
            only where the model writes.
    """
    what = kind.name.replace("_", " ")
    if kind.reads == "images":
        spec = dataclasses.replace(spec, max_length=_USUAL["max_length"])
    else:
        _refuse(spec, kind, OF_IMAGES, "reads no images")
    if not kind.trains_head:
        if isinstance(spec.method, Head | Probe):
            raise VxlabError(
                f"method={spec.method}: {spec.task} is a task of {what}, whose model has no head to fit; take "
                "Base() for the floor, as the reports 10 to 12 do"
            )
        if not kind.writes:
            _refuse_writing(spec, kind, OF_DECODING)
        return dataclasses.replace(spec, head_learning_rate=0.0)
    if isinstance(spec.method, Base):
        raise VxlabError(
            f"method=Base(): {spec.task} is a task of {what}, whose head is new and answers nothing untrained; "
            "take Probe() for the floor"
        )
    _refuse_writing(spec, kind, OF_WRITING)
    if spec.method.by_gradient and spec.head_learning_rate <= 0:
        raise VxlabError(f"head_learning_rate={spec.head_learning_rate!r} is not a positive number; try 1e-3")
    return spec


def _refuse_writing(spec: RunSpec, kind: Kind, names: tuple[str, ...]) -> None:
    _refuse(spec, kind, names, "writes nothing")


def _refuse(spec: RunSpec, kind: Kind, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if (value := getattr(spec, name)) != _USUAL[name]:
            raise VxlabError(
                f"{name}={value!r}: {spec.task} is a task of {kind.name.replace('_', ' ')}, and its model {why}; leave "
                "it out"
            )
