"""What stays told apart over tasks where one of them is left out."""

import pandas as pd

from vxlab.studies.atlas.gather import AcrossTasks
from vxlab.studies.atlas.pooled import pooled_differences

LEFT_OUT_COLUMNS = ["task", "apart", "stay"]


def without_each_task(across: AcrossTasks, pooled: pd.DataFrame) -> pd.DataFrame:
    """Pool every pair over all tasks but one, each in turn: how much of what is told apart hangs on one task?

    Tasks count as draws from tasks like these, which they are at best: several may be of one kind. An interval knows
    nothing of that, and what one task more or less decides is no finding yet.

    Args:
        across: one model's tasks.
        pooled: of them, every pair, from :func:`pooled_differences`.

    Returns:
        One row a task: ``task``, that is left out; ``apart``, how many pairs are told apart over the others, after Holm
        over all of theirs; ``stay``, the pairs (a, b) told apart over all tasks that are so over the others. Empty of
        fewer than three tasks, whose others are one.
    """
    tasks = list(across.tasks["task"])
    if len(tasks) < 3:
        return pd.DataFrame(columns=LEFT_OUT_COLUMNS)
    whole = _told(pooled)
    rows = []
    for task in tasks:
        told = _told(pooled_differences(_without(across, task)))
        rows.append((task, len(told), whole & told))
    return pd.DataFrame(rows, columns=LEFT_OUT_COLUMNS)


def _told(pooled: pd.DataFrame) -> set[tuple[str, str]]:
    own = pooled[pooled["seen"].astype(bool)]
    return {(max(a, b), min(a, b)) for a, b in zip(own["a"], own["b"], strict=True)}  # whichever comes first there


def _without(across: AcrossTasks, task: str) -> AcrossTasks:
    tasks, scores, pairs = (
        table[table["task"] != task].reset_index(drop=True) for table in (across.tasks, across.scores, across.pairs)
    )
    return across._replace(tasks=tasks, scores=scores, pairs=pairs)
