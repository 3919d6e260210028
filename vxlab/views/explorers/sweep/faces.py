"""The sweep explorer of a comparison or of a store, as widgets or as a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from vxlab.errors import VxlabError
from vxlab.experiments.store import Store, Where, is_there, open_store, store_place
from vxlab.experiments.sweeps import Comparison, SweepTables, stored_sweeps, tables_of
from vxlab.studies import atlas_sweeps, is_atlas, mark_sweeps, published_table
from vxlab.views.explorers import Choice, Stop, View, explore, is_live
from vxlab.views.explorers.sweep.explorer import SweepExplorer
from vxlab.views.style import apply_style, escape
from vxlab.words import list_in_words

if TYPE_CHECKING:
    from vxlab.views.explorers import ExplorerWidget

_MOST = 160
"""views of the figure without a kernel; of a larger sweep it has parameters alone, and of a store the first sweeps"""
_TODO = "vxlab.compare(vxlab.fair_recipe('smoke')) takes a minute; notebook 02_rank_sweep asks the whole question."


def explore_sweep(
    result_or_store: "Comparison | Where",
    *,
    paper: "pd.DataFrame | str | None" = None,
    interactive: bool | None = None,
) -> "go.Figure | ExplorerWidget":
    """Show a sweep one candidate at a time: its score and price beside all others, its learning curves, its tuning.

    Args:
        result_or_store: what :func:`vxlab.compare` returned, or a store as :func:`vxlab.run` takes it: a
            :class:`vxlab.Store`, its path or its URL, None for the usual one. Of a store each task and model is a
            sweep of its own. Where no run of the store has ended yet, the atlas's sweeps are shown in its place, marked
            as such, of the models that are on this machine with the same weights.
        paper: the papers' points to lay over the scores, hollow: a task of their GLUE tables, such as ``sst2``, or
            rows of :func:`vxlab.studies.published.published_table`; None: the sweep's own task, where they have it.
        interactive: widgets (needs a kernel), or a figure with its own menu and slider; None: widgets where there is
            a live notebook to show them.

    Raises:
        VxlabError: this is no comparison and no store, or the papers' tables have no such task.
    """
    sweeps, lacking = _sweeps(result_or_store)
    sweeps = sweeps or _of_atlas(*lacking)
    if not sweeps:
        return explore(_Nothing(*lacking), interactive)
    published = {sweep.name: rows for sweep in sweeps if len(rows := _paper_rows(paper, sweep.task))}
    if is_live(interactive):
        from vxlab.views.explorers.sweep.widget import SweepWidget

        return SweepWidget(SweepExplorer(sweeps, published))
    return explore(SweepExplorer(sweeps, published, most=_MOST), interactive=False)


class _Nothing:
    """Words where there is nothing to choose."""

    menus, slider = (), "rank"

    def __init__(self, place: str, there: str) -> None:
        first = f"<b>Nothing to show:</b> the store {escape(place)}"
        self._told = [first, f"{escape(there)}. Train some, then run this cell again:", _TODO]

    def offered(self) -> dict[Choice, list[Stop]]:
        return {(): [("none", "")]}

    def canvas(self) -> go.Figure:
        figure = apply_style(go.Figure(), height=200, legend=False, name="sweep")
        figure.update_xaxes(title="trained parameters", showticklabels=False)
        return figure.update_yaxes(title="test score", showticklabels=False)

    def view(self, choice: Choice, stop: str) -> View:
        return View([], self._told)


def _sweeps(given: "Comparison | Where") -> tuple[list[SweepTables], tuple[str, str]]:
    """Return the sweeps of a comparison or a store, and where that has none its place and what it has."""
    if isinstance(given, Comparison):
        return [tables_of(given)], ("", "")
    if not (given is None or isinstance(given, str | Path | Store)):
        raise VxlabError(
            f"result_or_store is a {type(given).__name__}; give what vxlab.compare returned, a vxlab.Store or its path"
        )
    if not isinstance(given, Store) and not is_there(given):  # looking at a store makes none
        if given and not Path(given).expanduser().exists():
            raise VxlabError(
                f"result_or_store={store_place(given)!r}: there is no such store; vxlab.Store().name is the usual"
            )
        return [], (store_place(given), _unended({}))
    with open_store(given) as results:
        found = stored_sweeps(results)
        counts = {} if found else results.table()["status"].value_counts().to_dict()
        return mark_sweeps(found) if is_atlas(given) else found, (results.name, _unended(counts))


def _of_atlas(place: str, there: str) -> list[SweepTables]:
    """Return the atlas's sweeps, which say that they stand for those that a store does not have."""
    sweeps, left_out = atlas_sweeps()
    notes = [f"The store {place} {there}: what is shown is the atlas's. {_TODO}"]
    if left_out:
        models = list_in_words(left_out)
        notes.append(f"Nothing of the atlas is shown of {models}: not here, or here with other weights.")
    return [sweep._replace(notes=(*sweep.notes, *notes)) for sweep in sweeps]


def _unended(counts: Mapping[Any, int]) -> str:
    runs = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"has no run that ended yet ({runs})" if runs else "has no runs yet"


def _paper_rows(paper: "pd.DataFrame | str | None", task: str) -> pd.DataFrame:
    """Return the papers' rows to lay over a sweep of a task."""
    if isinstance(paper, pd.DataFrame):
        return paper.dropna(subset=["parameters", "fraction"])
    glue = published_table("glue").dropna(subset=["parameters", "fraction"]).query("method != 'full'")
    if paper is not None and paper not in set(glue["task"]):
        known = ", ".join(glue["task"].unique())
        raise VxlabError(f"paper={paper!r} is not a task of the papers' GLUE tables: {known}")
    return glue[glue["task"] == (paper or task)]
