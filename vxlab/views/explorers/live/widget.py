"""A run as widgets, for a live notebook."""

import threading

import ipywidgets as widgets

from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, RunSpec, method_label
from vxlab.experiments.runs import Job, Materials, run_beside
from vxlab.experiments.store import Store, Where
from vxlab.views.explorers import FitWidth, WholeFigure
from vxlab.views.explorers.live.state import SoFar, describe_end, describe_failed_run
from vxlab.views.figures import Curves, learning_curves, redraw_curves
from vxlab.views.style import escape, theme_style

_PAUSE = 0.5
"""Seconds between two drawings: whatever came in between is in the next one, so that nothing queues up."""
_last: "dict[tuple[str, str], LiveRun]" = {}


def live_widget(spec: RunSpec, store: Where) -> "LiveRun":
    """Return the widget of a run: the one that is at it, or a new one."""
    materials = Materials(reuse=False)
    job, results = materials.job(spec), store if isinstance(store, Store) else Store(store)
    place = (results.name, job.key)
    if place not in _last or not _last[place].under_way:
        _last[place] = LiveRun(job, results, SoFar(spec, materials.task(spec)))
    return _last[place]


class LiveRun(widgets.VBox):  # type: ignore[misc] # ipywidgets says nothing of its types
    """One run: words, a bar, a button and its curves. Training starts at once, where the store lacks the run.

    Args:
        job: the run.
        results: the store, which threads of this object use.
        so_far: nothing yet.
    """

    def __init__(self, job: Job, results: Store, so_far: SoFar) -> None:
        self._job, self._results, self._so_far = job, results, so_far
        self._name, self._drawn = method_label(job.spec.method), (0, 0)
        self._ended, self._error = threading.Event(), ""
        self._record = results.record(job.key)
        self.words = widgets.HTML()
        self.bar = widgets.IntProgress(layout=widgets.Layout(flex="0 1 320px"))
        self.button = widgets.Button(
            description="Stop and keep the best", icon="stop", layout=widgets.Layout(width="auto", flex="0 0 auto"),
            tooltip="End after the current step; the checkpoint with the best validation score is kept",
        )  # fmt: skip
        self.button.on_click(lambda _: self.stop())
        self.figure = WholeFigure(learning_curves({self._name: self._record or so_far}))
        controls = widgets.HBox([self.bar, self.button], layout=widgets.Layout(align_items="center"))
        super().__init__([widgets.HTML(theme_style()), FitWidth(), self.words, controls, self.figure])
        if self._record is not None:
            self._ended.set()
        self._draw()
        if self._record is None:
            threading.Thread(target=self._train, daemon=True, name="vxlab-live-train").start()
            threading.Thread(target=self._paint, daemon=True, name="vxlab-live-paint").start()

    @property
    def under_way(self) -> bool:
        """Whether it waits or trains."""
        return not self._ended.is_set()

    @property
    def record(self) -> RunRecord | None:
        """The record, a stopped run's too; None until it is there."""
        return self._record

    def wait(self, timeout: float | None = None) -> RunRecord:
        """Wait until the run has ended, and return its record; an interrupt ends the wait, not the run.

        Args:
            timeout: seconds to wait at most; None waits for as long as it takes.

        Raises:
            VxlabError: the run failed, or has not ended in time.
        """
        if not self._ended.wait(timeout):
            raise VxlabError(f"run {self._job.key[:12]} has not ended within {timeout:g} s; wait longer, or stop() it")
        if self._record is None:
            raise VxlabError(self._error)
        return self._record

    def stop(self) -> None:
        """End the run after its current step; the best checkpoint's adapter is kept."""
        self._so_far.stop()
        self.button.disabled = True

    def _train(self) -> None:
        try:
            self._record = run_beside(self._job, self._results, self._so_far)
        except Exception as error:
            self._error = str(error) if isinstance(error, VxlabError) else f"{type(error).__name__}: {error}"
        finally:
            self._ended.set()
            self._results.close()

    def _paint(self) -> None:
        while not self._ended.wait(_PAUSE):
            self._draw()
        self._draw()

    def _draw(self) -> None:
        so_far, record = self._so_far, self._record
        over = self._ended.is_set()
        told = (describe_end(record) if record else describe_failed_run(self._error)) if over else so_far.words()
        self.words.value = f"<b>{escape(self._name)} on {escape(so_far.task['name'])}</b><br>{told}"
        self.bar.max, self.bar.value = max(so_far.steps, 1), so_far.step
        if over:
            self.button.disabled = True
            self.bar.layout.display = self.button.layout.display = "none"
        drawn = record or so_far
        if (len(drawn.curve), len(drawn.metrics)) != self._drawn:
            self._drawn = (len(drawn.curve), len(drawn.metrics))
            self._draw_curves(drawn)

    def _draw_curves(self, record: Curves) -> None:
        with self.figure.batch_update():
            redraw_curves(self.figure, [record])
            if self._so_far.steps:
                self.figure.layout.xaxis.range = [0, 1.02 * self._so_far.steps]
        self.figure.keep_for_reload()
