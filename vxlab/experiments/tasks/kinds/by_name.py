"""The kinds of task that there are."""

from collections.abc import Mapping
from typing import Any

from vxlab.experiments.tasks.kinds.generation import Generation
from vxlab.experiments.tasks.kinds.kind import Kind
from vxlab.experiments.tasks.kinds.labelled import Classification, Regression

CLASSIFICATION, REGRESSION, GENERATION = Classification(), Regression(), Generation()
_KINDS: dict[str, Kind] = {kind.name: kind for kind in (CLASSIFICATION, REGRESSION, GENERATION)}


def kind_of(num_labels: int) -> Kind:
    """Return the kind of a task whose model answers with so many numbers; 0 is a model that writes.

    >>> kind_of(1).name, kind_of(2).name, kind_of(0).name
    ('regression', 'classification', 'generation')
    """
    if num_labels == 0:
        return GENERATION
    return REGRESSION if num_labels == 1 else CLASSIFICATION


def recorded_kind(task: Mapping[str, Any]) -> Kind:
    """Return the kind of the task that a run's record describes: as it says, or in older records by its labels."""
    return _KINDS[task["kind"]] if "kind" in task else kind_of(task["num_labels"])
