"""The papers' claims on storage, each beside what its own parameters come to."""

import math
from typing import Any

import pandas as pd

from vxlab.studies import published_table

_UNITS = {
    "MB": (10**6, 2**20), "GB": (10**9, 2**30, 2**10 * 10**6), "TB": (10**12, 2**40, 2**20 * 10**6),
}  # fmt: skip
"""What a printed unit may mean: by thousands, by 1,024, or a million adapters of so many KiB or MiB."""
_CLOSE = 0.02
LABELS = {"lora": "LoRA", "vera": "VeRA", "lora_xs": "LoRA-XS"}


def beside_claims() -> pd.DataFrame:
    """Return the papers' claims with the bytes that their parameters come to.

    Columns: ``model``, ``candidate``, ``adapters``, ``number_bytes``, ``claimed`` (the value with its unit), ``bytes``
    (counted from the parameters of square layers and the bytes of a number) and ``counted`` (the same in the claim's
    unit), ``agrees`` (the value is within 2 % of that, in thousands or in steps of 1,024), ``source`` and
    ``certainty``.
    """
    rows = []
    for row in published_table("storage").to_dict("records"):
        counted = _parameters(row) * row["number_bytes"] * row["adapters"]
        rows.append({
            "model": row["model"], "candidate": f"{LABELS[row['method']]} r={row['rank']}",
            "adapters": row["adapters"], "number_bytes": row["number_bytes"],
            "claimed": f"{row['value']:,.0f} {row['unit']}", "bytes": counted,
            "counted": f"{counted / _UNITS[row['unit']][0]:,.0f} {row['unit']}",
            "agrees": any(math.isclose(row["value"] * size, counted, rel_tol=_CLOSE) for size in _UNITS[row["unit"]]),
            "source": row["source"], "certainty": row["mark"] or "as printed",
        })  # fmt: skip
    return pd.DataFrame(rows)


def _parameters(row: dict[Any, Any]) -> int:
    """Return what an adapter trains on square layers."""
    rank, width = row["rank"], row["width"]
    each = {"lora": 2 * rank * width, "vera": rank + width, "lora_xs": rank**2}[row["method"]]
    return int(row["layers"] * each)
