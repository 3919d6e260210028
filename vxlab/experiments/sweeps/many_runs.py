"""Many runs: each trained once, in this process, in several, or on a cluster, and kept as soon as it ends."""

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.adapters import Method
from vxlab.checks import require_known, settle, settle_list
from vxlab.errors import VxlabError
from vxlab.experiments import hardware
from vxlab.experiments.engines import Engine, Outcome, make_engine
from vxlab.experiments.method_names import describe_method
from vxlab.experiments.record import RECORD_FILE, RunRecord
from vxlab.experiments.runs.inputs import Job, fresh_materials, shared_materials
from vxlab.experiments.runs.lease import POLL_SECONDS, renew_claims
from vxlab.experiments.runs.one_run import train_job
from vxlab.experiments.spec import RunSpec
from vxlab.experiments.store.store import Store, Where, open_store
from vxlab.experiments.sweeps.plan import check_fit, plan_runs
from vxlab.experiments.sweeps.progress import RESUME, SweepProgress

if TYPE_CHECKING:
    import pandas as pd

LOSSES = 3
"""So often may a run's worker die before the run counts as failed, where the engine itself tries nothing again."""

_DISK_IS_FULL = ("No space left on device", "Disk quota exceeded")


def sweep(
    specs: Sequence[RunSpec],
    *,
    store: Where = None,
    engine: "str | Engine" = "inline",
    workers: int | None = None,
    progress: bool = True,
    train: bool = True,
) -> "pd.DataFrame":
    """Train every run that the store does not have, and return all of them as a table.

    A run that fails is a row with its error, and the sweep goes on; called again, failed runs are tried again.
    Killed at any point, the next call goes on where it stopped. Several processes, or machines with one Postgres
    store, may call it with the same specs: each run is trained by one of them.

    Args:
        specs: the runs; the same one twice is trained once.
        store: as :func:`vxlab.run` takes it.
        engine: ``inline`` (this process), ``processes`` (several on this machine) or ``ray`` (GPUs and clusters).
        workers: runs at a time, where the engine runs several; None takes what the machine has.
        progress: say what is to be done, and show a bar with the time left and the highest validation score so far.
        train: False takes what the store has, and raises where it lacks a run.

    Returns:
        One row a run, in the order of ``specs``; :meth:`Store.table` has the columns.

    Raises:
        VxlabError: a spec's model, task, device or precision cannot be had, or a rank does not fit its layers: then
            nothing has run. Or the store lacks a run that is not to be trained. Or the store fails: then what has
        finished is kept.
    """
    specs = all_specs(specs)
    progress, train = settle("progress", progress, bool), settle("train", train, bool)
    # The claims are released last, when no worker trains any more.
    with open_store(store) as results, renew_claims(results) as owner, make_engine(engine, workers=workers) as pool:
        fresh_materials()
        jobs = jobs_of(specs, pool)
        check_fit(jobs)
        if not train:
            require_trained(jobs, results)
        elif progress:
            print(plan_runs(jobs, results, pool))
        with SweepProgress(len({job.key for job in jobs}), progress) as show:
            drive(jobs, results, pool, show, owner)
        keys = [job.key for job in jobs]
        return results.table(dict.fromkeys(keys)).set_index("key", drop=False).loc[keys].reset_index(drop=True)


def grid(
    methods: Iterable[Method],
    *,
    learning_rates: Iterable[float],
    head_learning_rates: Iterable[float] = (5e-3,),
    targets: Iterable[str | tuple[str, ...]] = ("query-value",),
    seeds: Iterable[int] = (0,),
    **settings: Any,
) -> list[RunSpec]:
    """Return a run for every combination: methods × targets × learning rates × head learning rates × seeds.

    Ranks are part of the methods. A grid alone tunes nothing: :class:`FairSweep` chooses on validation and reports on
    fresh seeds.

    Args:
        methods: such as ``[vxlab.LoRA(rank=r) for r in (2, 8)]``.
        learning_rates: of the adapter.
        head_learning_rates: of the task head.
        targets: target sets, as :func:`vxlab.attach` takes them.
        seeds: of the runs.
        settings: further fields of :class:`RunSpec`, for all.

    >>> from vxlab import LoRA
    >>> len(grid([LoRA(rank=2), LoRA(rank=8)], learning_rates=[1e-3, 1e-2], seeds=range(5)))
    20
    """
    decided = ("method", "learning_rate", "head_learning_rate", "seed", "targets")
    require_known(settings, [each.name for each in fields(RunSpec) if each.name not in decided], "grid has no field")
    each_method = settle_list("methods", methods, Method, "methods, such as [vxlab.LoRA(rank=8)]")
    rates, heads = (
        settle(name, given, tuple[float, ...])
        for name, given in (("learning_rates", learning_rates), ("head_learning_rates", head_learning_rates))
    )
    every = product(each_method, _target_sets(targets), rates, heads, settle("seeds", seeds, tuple[int, ...]))
    return [
        RunSpec(method=method, targets=layers, learning_rate=rate, head_learning_rate=head, seed=seed, **settings)
        for method, layers, rate, head, seed in every
    ]


def _target_sets(targets: Any) -> list[Any]:
    """Return target sets: each item of a list is one, and a text alone."""
    several = isinstance(targets, Iterable) and not isinstance(targets, str | Mapping)
    return [settle("targets", each, str | tuple[str, ...]) for each in (targets if several else [targets])]


def all_specs(specs: Any) -> list[RunSpec]:
    """Return runs as a list, one or more; refuse what holds anything else."""
    found = settle_list("specs", specs, RunSpec, "runs, vxlab.RunSpec(...); a FairSweep is for vxlab.compare")
    if not found:
        raise VxlabError("specs is empty; give one RunSpec or more")
    return found


def jobs_of(specs: Sequence[RunSpec], engine: Engine) -> list[Job]:
    """Look up what the specs name.

    Raises:
        VxlabError: as :func:`sweep`, or torchrun started several processes, of which each would train other runs.
    """
    hardware.require_one_process("a sweep")
    return [shared_materials().job(spec, engine.device) for spec in specs]


def require_trained(jobs: Sequence[Job], results: Store) -> None:
    """Raise, naming the runs, where the store lacks a finished or diverged one of these."""
    wanted = {job.key: job for job in jobs}
    states = results.status(list(wanted))
    done = {key for key, state in states.items() if state.status in ("finished", "diverged")}
    if missing := [job for key, job in wanted.items() if key not in done]:
        told = [_told(job.spec) for job in missing]
        more = f", and {len(told) - 3} more" if len(told) > 3 else ""
        raise VxlabError(
            f"train=False, and {results.name} lacks {len(missing)} of {len(wanted)} runs: {'; '.join(told[:3])}{more}; "
            "train them with train=True, or name the store that has them"
        )


def _told(spec: RunSpec) -> str:
    where = f" at {spec.learning_rate:g}, seed {spec.seed}" if spec.method.by_gradient else ""
    return describe_method(spec.method) + where


def drive(jobs: Sequence[Job], results: Store, engine: Engine, show: SweepProgress, owner: str) -> None:
    """Have the engine train the jobs that nobody has trained, and write each as it ends.

    Args:
        jobs: the runs; one that occurs twice is trained once.
        results: the store.
        engine: entered.
        show: entered.
        owner: of the claims, from :func:`renewed`.

    Raises:
        VxlabError: the store fails for longer than its patience, or a disk is full; what has finished is kept.
    """
    results.release_dead()
    _Drive(jobs, results, engine, show, owner).until_done()


class _Drive:
    """One driver at work on a list of jobs, perhaps beside others."""

    def __init__(self, jobs: Sequence[Job], results: Store, engine: Engine, show: SweepProgress, owner: str) -> None:
        self.waiting = {job.key: job for job in jobs}
        self.running: dict[str, Job] = {}
        self.losses: dict[str, int] = {}
        self.results, self.engine, self.show, self.owner = results, engine, show, owner
        self.started = results.now()

    def until_done(self) -> None:
        """Submit, settle and wait until no job is left, by whomever it was trained."""
        while self.waiting or self.running:
            self._submit()
            self.show.running(len(self.running), elsewhere=len(self.waiting) if not self.running else 0)
            if self.running:
                self._settle_all(self.engine.finished(timeout=POLL_SECONDS))
            elif self.waiting:
                time.sleep(POLL_SECONDS)

    def _submit(self) -> None:
        """Claim waiting jobs while the engine has room; those done, here before or elsewhere, leave the list."""
        states = self.results.status(list(self.waiting))
        room = self.engine.slots - len(self.running)
        for key, job in list(self.waiting.items()):
            state = states.get(key)
            if state is not None and (
                state.status in ("finished", "diverged") or (state.status == "failed" and state.at >= self.started)
            ):
                self._leave(key, state.status, state.error or "")
            elif room > 0 and self._claim(job):
                room -= 1
                self.running[key] = self.waiting.pop(key)
                folder = str(self.results.folder_of(key)) if self.engine.shared_files else None
                self.engine.submit(key, work, job.spec, key, job.device, folder)

    def _claim(self, job: Job) -> bool:
        found = RunRecord.whole(self.results.folder_of(job.key), job.key)
        claimed = self.results.claim(job.key, job.spec.settings(), job.identity, self.owner, failed_before=self.started)
        if claimed and found is not None:
            self._keep(found)  # trained before a driver could write it down
            self._leave(job.key, found.status)
            return False
        return claimed

    def _leave(self, key: str, status: str, error: str = "") -> None:
        """Take a job off the list that was done before, or elsewhere."""
        self.show.done(self.waiting.pop(key), status, lambda: self.results.record(key), error, here=False)

    def _settle_all(self, outcomes: list[Outcome]) -> None:
        """Write what workers sent back to the disk first: a store that fails at one run loses none of the others."""
        with hold_interrupts():
            for outcome in outcomes:
                if not outcome.error:
                    _receive(self.results.folder_of(outcome.key), outcome.value)
        for outcome in outcomes:
            self._settle(self.running.pop(outcome.key), outcome)

    def _settle(self, job: Job, outcome: Outcome) -> None:
        if any(words in outcome.error for words in _DISK_IS_FULL):
            raise VxlabError(f"{outcome.error}; free some space in {self.results.folder}. {RESUME}")
        if outcome.lost and self._may_try_again(job.key):
            self.results.release(self.owner, job.key)
            self.waiting[job.key] = job
            return
        record = None if outcome.error else RunRecord.load(self.results.folder_of(job.key))
        if record is None:
            error = outcome.error or f"its worker wrote no record into {self.results.folder_of(job.key)}; is it shared?"
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
        self.losses[key] = self.losses.get(key, 0) + 1
        return self.losses[key] < LOSSES and not self.engine.retries


def work(spec: RunSpec, key: str, device: str, folder: str | None) -> dict[str, bytes]:
    """Train one run in a worker.

    Args:
        spec: the run.
        key: as the driver looked it up: model, data and version must be the same here.
        device: the spec's, resolved.
        folder: the run's, where driver and worker see the same files; None sends them back.

    Returns:
        The run's files by relative path where ``folder`` is None, else nothing.
    """
    job = _same_job(spec, key, device)
    if folder is not None:
        train_job(job, Path(folder), shared_materials())
        return {}
    with tempfile.TemporaryDirectory(prefix="vxlab-run-") as own:
        train_job(job, Path(own) / key[:16], shared_materials())
        root = Path(own) / key[:16]
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _same_job(spec: RunSpec, key: str, device: str) -> Job:
    job = shared_materials().job(spec, device)
    if job.key != key:  # what this worker keeps may be from before a change of the data
        job = fresh_materials().job(spec, device)
    if job.key != key:
        here = ", ".join(f"{name} {value[:12]}" for name, value in job.identity.items())
        raise VxlabError(
            "this worker has another model, task or version of vxlab than the driver, or other code of its method: "
            f"give both the same files (here {here})"
        )
    return job


def _receive(folder: Path, files: dict[str, bytes]) -> None:
    """Write what a worker sent back, the record last."""
    for name in sorted(files, key=lambda name: name == RECORD_FILE):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}")
        new.write_bytes(files[name])
        os.replace(new, path)


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
