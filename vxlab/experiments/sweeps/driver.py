"""Drive a list of runs to their end: lease each, have an engine train it, and write it down as soon as it ends."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.engines import Engine, Outcome
from vxlab.experiments.runs import POLL_SECONDS, Job
from vxlab.experiments.store import ENDED, Store
from vxlab.experiments.sweeps.bundles import Bundles
from vxlab.experiments.sweeps.progress import RESUME, SweepProgress
from vxlab.experiments.sweeps.worker import receive_files, train_in_worker

_DEATHS = 3
"""So many workers may die at a run before it counts as failed, where the engine itself tries nothing again."""

_DISK_IS_FULL = ("No space left on device", "Disk quota exceeded")


def drive(
    jobs: Sequence[Job],
    results: Store,
    engine: Engine,
    show: SweepProgress,
    owner: str,
    bundles: Bundles | None = None,
) -> None:
    """Have the engine train the jobs that nobody has trained, and write each as it ends.

    Args:
        jobs: the runs; one that occurs twice is trained once.
        results: the store.
        engine: entered.
        show: entered.
        owner: of the leases, from :func:`hold_leases`.
        bundles: says which runs train together; None trains each alone.

    Raises:
        VxlabError: the store fails for longer than its patience, or a disk is full; what has finished is kept.
    """
    results.release_dead()
    _Drive(jobs, results, engine, show, owner, bundles or Bundles(1)).until_done()


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait until what is being written is written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda *event: came.append(event))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


class _Drive:
    """One driver at work on a list of jobs, perhaps beside others."""

    def __init__(
        self, jobs: Sequence[Job], results: Store, engine: Engine, show: SweepProgress, owner: str, bundles: Bundles
    ) -> None:
        self.waiting = {job.key: job for job in jobs}
        self.running: dict[str, list[Job]] = {}
        """bundles by the key of their first run, of which those are taken out that are written down"""
        self.deaths: dict[str, int] = {}
        self.results, self.engine, self.show, self.owner, self.bundles = results, engine, show, owner, bundles
        self.started = results.now()

    def until_done(self) -> None:
        """Submit, settle and wait until no job is left, by whomever it was trained."""
        self._leave_done()
        self.bundles.decide(list(self.waiting.values()), self.engine)
        while self.waiting or self.running:
            self._submit()
            here = sum(len(jobs) for jobs in self.running.values())
            self.show.running(here, elsewhere=len(self.waiting) if not self.running else 0)
            if self.running:
                try:
                    self._settle_all(self.engine.finished(timeout=POLL_SECONDS))
                except KeyboardInterrupt:  # inline, a whole bundle ran in there
                    self._keep_early()
                    raise
                self._keep_early()
            elif self.waiting:
                time.sleep(POLL_SECONDS)

    def _submit(self) -> None:
        """Lease waiting jobs while the engine has room; those done, here before or elsewhere, leave the list."""
        self._leave_done()
        room = self.engine.slots - len(self.running)
        for bundle in self._bundles() if room > 0 else []:
            if room > 0 and (leased := [job for job in bundle if self._lease(job)]):
                room -= 1
                self._start(leased)

    def _leave_done(self) -> None:
        states = self.results.status(list(self.waiting))
        for key in list(self.waiting):
            state = states.get(key)
            if state is not None and (state.status in ENDED or (state.status == "failed" and state.at >= self.started)):
                self._leave(key, state.status, state.error or "")

    def _bundles(self) -> list[list[Job]]:
        """Return the waiting jobs in bundles; what a worker died at is tried alone."""
        fresh = [job for job in self.waiting.values() if job.key not in self.deaths]
        again = [[job] for job in self.waiting.values() if job.key in self.deaths]
        return self.bundles.arrange(fresh, self.engine.slots) + again

    def _start(self, jobs: list[Job]) -> None:
        for job in jobs:
            del self.waiting[job.key]
        self.running[jobs[0].key] = jobs
        folders = [str(self.results.folder_of(job.key)) for job in jobs] if self.engine.shared_files else None
        self.engine.submit(jobs[0].key, train_in_worker, [(job.spec, job.key) for job in jobs], jobs[0].device, folders)

    def _lease(self, job: Job) -> bool:
        found = RunRecord.whole(self.results.folder_of(job.key), job.key)
        leased = self.results.lease(job.key, job.spec.settings(), job.identity, self.owner, failed_before=self.started)
        if leased and found is not None:
            self._keep(found)  # trained before a driver could write it down
            self._leave(job.key, found.status)
            return False
        return leased

    def _leave(self, key: str, status: str, error: str = "") -> None:
        """Take a job off the list that was done before, or elsewhere."""
        self.show.done(self.waiting.pop(key), status, lambda: self.results.record(key), error, here=False)

    def _settle_all(self, outcomes: list[Outcome]) -> None:
        """Write what workers sent back to the disk first: a store that fails at one run loses none of the others."""
        with hold_interrupts():
            for outcome in outcomes:
                for key, files in outcome.value.files.items() if not outcome.error else ():
                    receive_files(self.results.folder_of(key), files)
        for outcome in outcomes:
            jobs = self.running.pop(outcome.key)
            self.show.note(() if outcome.error else outcome.value.notes)
            for job in jobs:
                self._settle(job, _of_job(outcome, job))

    def _keep_early(self) -> None:
        """Write down runs of a bundle that are done while others of it go on."""
        for jobs in self.running.values() if self.engine.shared_files else ():
            for job in jobs[:] if len(jobs) > 1 else ():
                if (found := RunRecord.whole(self.results.folder_of(job.key), job.key)) is not None:
                    jobs.remove(job)
                    self._keep(found)
                    self.show.done(job, found.status, lambda found=found: found)  # type: ignore[misc]

    def _settle(self, job: Job, outcome: Outcome) -> None:
        if any(words in outcome.error for words in _DISK_IS_FULL):
            raise VxlabError(f"{outcome.error}; free some space in {self.results.folder}. {RESUME}")
        if outcome.lost and self._may_try_again(job.key):
            self.results.release(self.owner, job.key)
            self.waiting[job.key] = job
            return
        folder = self.results.folder_of(job.key)
        # What failed may be others of its bundle, or the bundle when this run was done.
        record = RunRecord.whole(folder, job.key) if outcome.error else RunRecord.load(folder)
        if record is None:
            error = outcome.error or f"its worker wrote no record into {folder}; is it shared?"
            with hold_interrupts():
                self.results.fail(job.key, self.owner, error, outcome.traceback)
            self.show.done(job, "failed", lambda: None, error)
        else:
            self._keep(record)
            self.show.done(job, record.status, lambda: record)

    def _keep(self, record: RunRecord) -> None:
        with hold_interrupts():
            self.results.finish(record, self.owner)

    def _may_try_again(self, key: str) -> bool:
        self.deaths[key] = self.deaths.get(key, 0) + 1
        return self.deaths[key] < _DEATHS and not self.engine.retries


def _of_job(outcome: Outcome, job: Job) -> Outcome:
    """Return how one run of a bundle ended."""
    if outcome.error:
        return Outcome(job.key, None, outcome.error, outcome.traceback, outcome.lost)
    return Outcome(job.key, outcome.value, *outcome.value.errors.get(job.key, ("", "")))
