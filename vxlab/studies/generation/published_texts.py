"""The papers' table of generated text, in the layout of this page's own."""

import pandas as pd

from vxlab.studies import published_table


def published_texts() -> pd.DataFrame:
    """Return VeRA's E2E table, one row a model and method.

    Columns: ``model``, ``method``, ``rank``, ``parameters``, ``source``, ``certainty``, and one a metric; BLEU, METEOR
    and ROUGE-L are of a hundred, as printed.
    """
    table = published_table("e2e")
    kept = ["model", "method", "rank", "parameters", "source", "certainty"]
    wide = table.pivot_table(index=kept, columns="metric", values="score", sort=False, dropna=False).dropna(how="all")
    return wide.reset_index().rename_axis(columns=None)
