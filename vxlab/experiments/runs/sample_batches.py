"""Test rows as a run's model reads them, whatever the kind of its task."""

from dataclasses import fields

from torch import Tensor

from vxlab.adapters import Full
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, RunSpec
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.runs.trainer import EVAL_BATCH


def sample_batches(spec: RunSpec, rows: int | None = None) -> list[dict[str, Tensor]]:
    """Return the first rows of a spec's test split in batches, each the keyword arguments of its model, without labels.

    Texts are cut at the spec's ``max_length`` and padded; prompts are those of the task, in no chat template. Images
    are at the spec's resolution, and not augmented.

    Args:
        spec: of the run.
        rows: at most; None takes all.

    Raises:
        VxlabError: the model or the task cannot be had, or rows is below 1.
    """
    if rows is not None and rows < 1:
        raise VxlabError(f"rows={rows!r} is no number of test rows; choose 1 or more, or None for all")
    materials = Materials(reuse=False)
    task, reader = materials.task(spec), materials.reader(spec)
    split = task.splits["test"]
    count = len(split) if rows is None else min(rows, len(split))
    return [
        task.kind.inputs(split[start : min(start + EVAL_BATCH, count)], reader, spec.form)
        for start in range(0, count, EVAL_BATCH)
    ]


def reading_spec(record: RunRecord) -> RunSpec:
    """Return a spec that reads the rows that a run read as the run did; what it would train is not the run's.

    Args:
        record: of a run.
    """
    given = {each.name for each in fields(RunSpec)} - {"method"}
    settings = {name: value for name, value in record.spec.items() if name in given and value is not None}
    columns = tuple(settings.get("text_columns", ()))
    rates = {"learning_rate": 1.0, "head_learning_rate": 1.0}
    return RunSpec(**settings | rates | {"method": Full(), "text_columns": columns})
