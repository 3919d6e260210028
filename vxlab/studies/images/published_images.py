"""The paper's table of images, in the layout of this page's own, and its differences beside those measured here."""

import pandas as pd

from vxlab.experiments.candidates import of_pair
from vxlab.experiments.sweeps import Comparison
from vxlab.studies import published_table

_PAIRS = (("lora", "head"), ("vera", "head"), ("full", "lora"), ("vera", "lora"))


def published_images() -> pd.DataFrame:
    """Return VeRA's table of image classification, one row a model and method.

    Columns: ``model``, ``method``, ``rank``, ``parameters``, ``source``, and one a data set: accuracy in percent.
    """
    table = published_table("vit")
    kept = ["model", "method", "rank", "parameters", "source"]
    wide = table.pivot_table(index=kept, columns="task", values="score", sort=False, dropna=False).dropna(how="all")
    return wide.reset_index().rename_axis(columns=None)


def differences_beside(result: Comparison) -> pd.DataFrame:
    """Return the paper's differences between methods beside those measured here, a row a pair.

    Columns: ``a`` and ``b``, candidates here; ``here``, the expected score of a less that of b, with its 95 % interval
    ``low`` to ``high``, and ``seen``, whether it is told from 0 after Holm's correction over all pairs of the sweep;
    ``least``, ``median`` and ``most`` of the paper's ``sets`` differences of the same two methods, all as fractions.
    Pairs of which a method is not here are left out.

    Args:
        result: of a fair sweep, of accuracies.
    """
    table = published_table("vit")
    wide = table.pivot_table(index=["model", "task"], columns="method", values="fraction")
    own: dict[str, str] = {}
    for name, each in result.fair.names.items():
        own.setdefault(each.method.name, name)
    rows = []
    for first, second in (pair for pair in _PAIRS if set(pair) <= set(own)):
        printed = (wide[first] - wide[second]).dropna()
        pair = of_pair(result.pairs, own[first], own[second])
        rows.append({
            "a": own[first], "b": own[second], "here": pair["difference"], "low": pair["low"], "high": pair["high"],
            "seen": bool(pair["seen"]), "least": printed.min(), "median": printed.median(), "most": printed.max(),
            "sets": len(printed),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=["a", "b", "here", "low", "high", "seen", "least", "median", "most", "sets"])
