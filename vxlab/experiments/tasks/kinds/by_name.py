"""The kinds of task that there are."""

from collections.abc import Mapping
from typing import Any

from vxlab.experiments.tasks.kinds.generation import Generation
from vxlab.experiments.tasks.kinds.images import ImageClassification
from vxlab.experiments.tasks.kinds.kind import Kind
from vxlab.experiments.tasks.kinds.labelled import Classification, Regression
from vxlab.experiments.tasks.kinds.multiple_choice import MultipleChoice

CLASSIFICATION, REGRESSION = Classification(), Regression()
GENERATION, MULTIPLE_CHOICE = Generation(), MultipleChoice()
IMAGE_CLASSIFICATION = ImageClassification()
_KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (CLASSIFICATION, REGRESSION, GENERATION, MULTIPLE_CHOICE, IMAGE_CLASSIFICATION)
}


def kind_of(num_labels: int, choices: bool = False, images: bool = False) -> Kind:
    """Return the kind of a task.

    Args:
        num_labels: numbers that its model answers with; 0 is a causal language model's.
        choices: whether such a model chooses among answers, rather than to write its own.
        images: whether a model with labels reads images, rather than texts.

    >>> kind_of(1).name, kind_of(2).name, kind_of(0).name, kind_of(0, choices=True).name
    ('regression', 'classification', 'generation', 'multiple_choice')
    """
    if images and num_labels:
        return IMAGE_CLASSIFICATION
    if num_labels == 0:
        return MULTIPLE_CHOICE if choices else GENERATION
    return REGRESSION if num_labels == 1 else CLASSIFICATION


def recorded_kind(task: Mapping[str, Any]) -> Kind:
    """Return the kind of the task that a run's record describes: as it says, or in older records by its labels."""
    return _KINDS[task["kind"]] if "kind" in task else kind_of(task["num_labels"])
