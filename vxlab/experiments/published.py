"""The papers' own tables, as figures to lay measurements beside."""

from difflib import get_close_matches
from typing import TYPE_CHECKING

from vxlab.errors import VxlabError
from vxlab.paths import shipped

if TYPE_CHECKING:
    import pandas as pd

MARKS = {"S": "", "2": "quoted by later work", "R": "recalled, not verified"}
"""What a reader is told of a figure by its ``certainty``: it stands in the paper itself, in later work, or in neither
that was looked up. A figure marked ``R`` is never shown without these words."""

_PREFIX = "published_"


def published_table(name: str) -> "pd.DataFrame":
    """Return one of the papers' tables, ``data/published_NAME.csv``, with a column ``mark`` of :data:`MARKS`' words.

    Args:
        name: ``costs`` (training time, memory and SVD time; one row a figure, ``to`` where it is a range).

    Raises:
        VxlabError: there is no such table, or it has no column ``certainty``.

    >>> costs = published_table("costs")
    >>> costs.query("method == 'vera' and quantity == 'training time'")["value"].tolist()
    [578.0]
    """
    import pandas as pd

    path = shipped("data", f"{_PREFIX}{name}.csv")
    if not path.is_file():
        known = sorted(each.stem.removeprefix(_PREFIX) for each in path.parent.glob(f"{_PREFIX}*.csv"))
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise VxlabError(f"there is no published table {name!r}; {hint}There are: {', '.join(known)}")
    table = pd.read_csv(path, dtype={"rank": "Int64"})
    if "certainty" not in table:
        raise VxlabError(f"{path.name} does not say how certain its figures are; read it for what it is with pandas")
    return table.assign(mark=table["certainty"].astype(str).map(MARKS))
