"""What made the numbers of a page, for its reader: facts of the runs in a table, and every run in a folded list."""

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING

from IPython.display import HTML

from vxlab.experiments import RunRecord
from vxlab.experiments.provenance import describe_mixture, run_facts, run_list
from vxlab.words import number_of

if TYPE_CHECKING:
    import pandas as pd

    from vxlab.experiments.sweeps import Comparison

_LEFT = "text-align: left; vertical-align: top; white-space: normal"
"""Jupyter sets tables to the right and never breaks their lines: these are sentences."""


def what_made(records: Iterable[RunRecord], comparison: "Comparison | None" = None) -> HTML:
    """Return what made some runs' numbers: what they differ in beside their settings, their facts, and their keys.

    Args:
        records: of the runs that a page shows.
        comparison: whose runs are among these, if any.
    """
    runs = list(records)
    facts = run_facts(runs, comparison)
    mixed = "".join(f"<p><strong>{html.escape(said)}</strong></p>" for said in describe_mixture(runs))
    cells = zip(facts["fact"].map(html.escape), facts["value"].map(html.escape), strict=True)
    rows = "".join(
        f'<tr><th scope="row" style="{_LEFT}">{fact}</th><td style="{_LEFT}">{value}</td></tr>' for fact, value in cells
    )
    table = f'<table class="vx-facts"><tbody>{rows}</tbody></table>'
    return HTML(f"{mixed}{table}{_folded(run_list(runs, comparison))}")  # type: ignore[no-untyped-call]


def _folded(table: "pd.DataFrame") -> str:
    """Return the list of runs in a fold, without columns in which nothing is."""
    shown = table.loc[:, [bool(table[name].notna().any() and (table[name] != "").any()) for name in table.columns]]
    listed = shown.to_html(index=False, na_rep="–", border=0, float_format="{:g}".format)
    return (
        f"<details><summary>The {number_of(len(table), 'run')}, by key: <code>vxlab runs show KEY"
        f"</code> tells all of one</summary>{listed}</details>"
    )
