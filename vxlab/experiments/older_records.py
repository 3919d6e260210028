"""What records from before it was kept with a run leave to be looked up: the units of its test rows."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vxlab.errors import DataWarning, VxlabError
from vxlab.warn import looking_ahead, warn_once

if TYPE_CHECKING:
    from vxlab.experiments.record import RunRecord
    from vxlab.experiments.tasks.copies import Ids
    from vxlab.experiments.tasks.task import Task

_OF_TASK = (
    "task", "task_folder", "label_column", "group_column", "label_kind", "train_examples", "eval_examples",
)  # fmt: skip


def look_up_units(record: "RunRecord", split: str) -> "Ids | None":
    """Return the units of a split from the task as it is now, where its rows are still those of the run.

    Where they are not, or the data cannot be had, items count as independent, and a DataWarning says so.
    """
    task = _task_of(record)
    if task is not None:
        return task.units(split)
    warn_once(
        f"runs on {record.task['name']} were recorded before it was kept which rows belong together, and their rows "
        "cannot be found again: each counts for itself, and intervals are too narrow if there are groups; train them "
        "again with vxlab.run(spec, fresh=True)",
        DataWarning,
        about=record.identity.get("task", ""),
    )
    return None


def knows_units(record: "RunRecord") -> bool:
    """Say whether it is known which test rows of a run belong together."""
    return "units" in record.task or _task_of(record) is not None


def _task_of(record: "RunRecord") -> "Task | None":
    fields = {name: record.spec.get(name) for name in _OF_TASK}
    return _found(tuple(fields.items()), tuple(record.spec.get("text_columns", ())), record.identity.get("task", ""))


@lru_cache(maxsize=8)
def _found(fields: tuple[tuple[str, Any], ...], text_columns: tuple[str, ...], identity: str) -> "Task | None":
    from vxlab.adapters import Head
    from vxlab.experiments.spec import RunSpec

    try:
        with looking_ahead():
            spec = RunSpec(
                method=Head(), learning_rate=1.0, head_learning_rate=1.0, text_columns=text_columns, **dict(fields)
            )
            task = spec.load_task()
    except VxlabError:
        return None
    return task if f"{task.fingerprint} {' '.join(task.metrics)}" == identity else None
