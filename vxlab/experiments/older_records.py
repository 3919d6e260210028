"""What records from before it was kept with a run leave to be looked up: the units of its test rows."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vxlab.errors import DataWarning
from vxlab.warn import warn_once

if TYPE_CHECKING:
    from vxlab.experiments.record import RunRecord
    from vxlab.experiments.tasks import Ids, Task


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
    from vxlab.experiments.spec import TASK_FIELDS

    fields = {name: record.spec[name] for name in TASK_FIELDS if name in record.spec} | {
        "text_columns": tuple(record.spec.get("text_columns", ()))
    }
    return _found(tuple(fields.items()), record.identity.get("task", ""))


@lru_cache(maxsize=8)
def _found(fields: tuple[tuple[str, Any], ...], identity: str) -> "Task | None":
    from vxlab.experiments.spec import find_task

    task = find_task(dict(fields))
    return task if task is not None and f"{task.fingerprint} {' '.join(task.metrics)}" == identity else None
