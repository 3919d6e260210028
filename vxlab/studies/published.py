"""The papers' own tables, as figures to lay measurements beside."""

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.paths import shipped_path
from vxlab.words import nearest

MARKS = {"S": "", "2": "quoted by later work", "R": "recalled, not verified"}
"""What a reader is told of a figure by its ``certainty``: it stands in the paper itself, in later work, or in neither
that was looked up. A figure marked ``R`` is never shown without these words."""

_PREFIX = "published_"


def published_table(name: str) -> pd.DataFrame:
    """Return one of the papers' tables, ``data/published_NAME.csv``, one row a figure, each with its source.

    A column ``mark`` holds :data:`MARKS`' words. Tables of scores keep each ``score`` as printed, in its ``unit``, and
    have it as a ``fraction``, 0 to 1, where the unit is %; ``parameters`` are those trained in the backbone.

    Args:
        name: of scores, ``glue`` (``task`` is ``average`` for the mean of six), ``e2e``, ``mt_bench``, ``vit``,
            ``vera_ablations`` or ``reasoning``; ``costs`` (training time, memory and SVD time; ``to`` where it is a
            range); or ``storage`` (bytes of so many adapters).

    Raises:
        VxlabError: there is no such table, or it has no column ``certainty``.

    >>> costs = published_table("costs")
    >>> costs.query("method == 'vera' and quantity == 'training time'")["value"].tolist()
    [578.0]
    >>> glue = published_table("glue")
    >>> glue.query("method == 'vera' and task == 'rte'")[["model", "parameters", "fraction"]].values.tolist()
    [['RoBERTa-base', 43000, 0.787], ['RoBERTa-large', 61000, 0.859]]
    """
    path = shipped_path("data", f"{_PREFIX}{name}.csv")
    if not path.is_file():
        known = sorted(each.stem.removeprefix(_PREFIX) for each in path.parent.glob(f"{_PREFIX}*.csv"))
        raise VxlabError(f"there is no published table {name!r}{nearest(name, known)}")
    table = pd.read_csv(path, dtype={"rank": "Int64", "parameters": "Int64", "note": "str", "statistic": "str"})
    if "certainty" not in table:
        raise VxlabError(f"{path.name} does not say how certain its figures are; read it for what it is with pandas")
    if "score" in table:
        # To six digits: 78.7 / 100 is 0.7870000000000001 in binary.
        table["fraction"] = (table["score"] / 100).where(table["unit"] == "%").round(6)
        table = table.fillna({"note": "", "statistic": ""})
    return table.assign(mark=table["certainty"].astype(str).map(MARKS))
