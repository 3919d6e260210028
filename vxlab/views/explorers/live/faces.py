"""A run to sit beside: its curves as they come, the time left, and a button that stops it and keeps the best."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec, method_label
from vxlab.experiments.runs import run
from vxlab.experiments.store import Where
from vxlab.views.explorers import is_live
from vxlab.views.figures import learning_curves

if TYPE_CHECKING:
    from vxlab.views.explorers.live.widget import LiveRun


def live_run(spec: RunSpec, *, store: Where = None, interactive: bool | None = None) -> "go.Figure | LiveRun":
    """Fine-tune as :func:`vxlab.run` does, and show the curves as they come.

    In a live notebook: a widget with the training loss, the validation score, the time left and a button that stops the
    run. Training goes on in a process of its own, so the cells below can run, and their random draws do not change its
    numbers. The widget's ``record`` is the finished record, its ``wait()`` waits for it, its ``stop()`` is the button.
    Asked again while it trains, the same widget is returned; asked for a finished run, its curves are there at once and
    nothing is trained.

    A stopped run is validated once more, where steps were taken since the last time. Its folder holds the adapter of
    the checkpoint with the best score on validation; its record has the status ``stopped`` and no test score, and the
    store does not count it as done. Asked for again, here or by :func:`vxlab.run`, it goes on from its last whole
    epoch, and ends with the numbers of a run that was never stopped. So does one whose kernel was restarted.

    Elsewhere, as in a report: runs with a plain progress line, and returns the finished run's learning curves.

    Args:
        spec: the run.
        store: as :func:`vxlab.run` takes it.
        interactive: widgets (needs a kernel), or the figure; None: widgets where there is a live notebook to show them.

    Raises:
        VxlabError: as :func:`vxlab.run`, or the spec is a probe's, which takes no steps; what goes wrong once a live
            run has started is shown in the widget, and raised by ``wait()``.
    """
    if isinstance(spec, RunSpec) and not spec.method.by_gradient:
        raise VxlabError(f"{spec.method} takes no gradient steps, so there is nothing to watch; call vxlab.run(spec)")
    if is_live(interactive):
        from vxlab.views.explorers.live.widget import live_widget

        return live_widget(spec, store)
    return learning_curves({method_label(spec.method): run(spec, store=store)})
