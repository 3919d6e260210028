"""The papers' tables of reasoning, in the layout of this page's own: a column a set."""

import pandas as pd

from vxlab.experiments import family_name
from vxlab.studies import published_table

MATHEMATICS = ("gsm8k", "math")


def published_reasoning(mathematics: bool) -> pd.DataFrame:
    """Return the LoRA-XS paper's table of mathematics, or of commonsense, one row a model and method.

    Columns: ``model``, ``method``, ``rank``, ``parameters``, one a set with the accuracy in %, as printed, ``source``
    and ``mark``, in words how certain its figures are; NaN where a figure is not known here.

    Args:
        mathematics: which of the two.
    """
    table = published_table("reasoning")
    rows = table[table["task"].isin(MATHEMATICS) == mathematics]
    kept = ["model", "method", "rank", "parameters", "source", "mark"]
    wide = rows.pivot_table(index=kept, columns="task", values="score", sort=False, dropna=False).dropna(how="all")
    wide = wide.reset_index().rename_axis(columns=None)
    wide = wide.assign(
        method=[family_name({"name": each}) for each in wide["method"]], mark=wide["mark"].replace("", "in the paper")
    )
    order = [*kept[:4], *dict.fromkeys(rows["task"]), *kept[4:]]
    return wide[order]
