"""The advice explorer: a budget, the ranks that the advice gives it, the energy these capture, and what was scored."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from vxlab.experiments import family_name, layers, method_label
from vxlab.experiments.models import model_fingerprint
from vxlab.experiments.store import Where
from vxlab.experiments.sweeps import Measured, stored_candidates
from vxlab.studies.advisor import Advice
from vxlab.views.explorers import Choice, Stop, View, explore, is_live, short
from vxlab.views.explorers.advisor.canvas import LINE, TITLES, advice_panels, map_of
from vxlab.views.explorers.advisor.words import told_capture, told_measured, told_ranks
from vxlab.views.style import name_panels

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from vxlab.views.explorers import ExplorerWidget


def explore_advice(
    advice: Advice, *, store: Where = None, metric: str | None = None, interactive: bool | None = None
) -> "go.Figure | ExplorerWidget":
    """Show the advice on ranks at one budget after another: ranks by layer, the energy they capture, and scores.

    No gradient is taken again, and no score is predicted: where the store holds runs of the advice's method under its
    protocol (its task, data, epochs, batches), with one rank on its targets or with ranks by layer that it allocates,
    their test scores stand at their own parameters.

    Args:
        advice: from :func:`vxlab.advise`.
        store: of runs, as :func:`vxlab.run` takes it.
        metric: one of the task's; None takes its first.
        interactive: widgets (needs a kernel), or a figure with its own slider; None: widgets where there is a live
            notebook to show them.

    Raises:
        VxlabError: the metric was not scored on the task.
    """
    spec = advice.spec
    weights = model_fingerprint(spec.model)
    runs = stored_candidates(store, spec.model, task=None, metric=metric, weights=weights, like=spec)
    return explore(AdviceExplorer(advice, runs), is_live(interactive))


class AdviceExplorer:
    """An advice's budgets, one at a time.

    Args:
        advice: whose budgets they are.
        runs: what was measured under its protocol.
    """

    menus, slider = (), "budget"

    def __init__(self, advice: Advice, runs: Measured) -> None:
        self._advice, self._family = advice, family_name(advice.spec.method)
        self._runs = runs._replace(table=_own_runs(advice, runs.table))
        self._budgets = {int(row["budget"]): row for row in advice.budgets.to_dict("records")}

    def offered(self) -> dict[Choice, list[Stop]]:
        asked = {self._advice.budget: ", as asked"}
        return {(): [(f"{budget:,}{asked.get(budget, '')}", budget) for budget in sorted(self._budgets)]}

    def canvas(self) -> "go.Figure":
        allocated = self._advice.allocations.groupby("layer")[["allocated", "uniform"]].max().max(axis=1)
        most = self._advice.layers.assign(rank=self._advice.layers["layer"].map(allocated))
        return advice_panels(most, self._advice.budgets, self._runs)

    def view(self, choice: Choice, stop: int) -> View:
        row, by_layer = self._budgets[stop], self._advice.at(stop)
        ring = {"x": [stop, stop], "y": [short(row["kept"]), short(row["kept_uniform"])]}
        gain = {"x": [stop], "y": [short(row["gain"])]}
        still: dict[str, Any] = {}
        traces = [*map_of(by_layer), still, still, ring, still, still, still, gain, still, still, still, still]
        words = [told_ranks(by_layer, row, self._family), told_capture(row), told_measured(stop, self._runs)]
        title = next(iter(name_panels([TITLES[row["verdict"]]]).items()))
        return View(traces, words, {f"{LINE}.x0": stop, f"{LINE}.x1": stop, title[0]: title[1]})


def _own_runs(advice: Advice, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the advice's method on its targets: with one rank, whichever, or with the ranks by layer that
    it allocates to one of its budgets. Other ranks by layer say nothing of these, though they cost as much.
    """
    method = advice.spec.method
    uniform = (runs["family"] == family_name(method)) & (runs["targets"] == layers(method, advice.spec.targets))
    return runs[uniform & runs["rank"].notna() | runs["label"].isin(_labels(advice))]


def _labels(advice: Advice) -> list[str]:
    """Return what runs with the ranks by layer of each budget are called."""
    kept = advice.allocations[advice.allocations["allocated"] > 0]
    ranks = [dict(zip(own["layer"], own["allocated"].astype(int), strict=True)) for _, own in kept.groupby("budget")]
    return [method_label({"name": advice.spec.method.name, "rank": each}) for each in ranks]
