"""One run: fine-tune by a spec, choose the checkpoint on validation, report on test."""

import contextlib
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from transformers import set_seed

from vxlab import checks
from vxlab.collector import pass_over_what_is_there
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, RunSpec, commit, hardware
from vxlab.experiments.evaluations import Asked, Tasks, evaluate_on, plan_evaluation
from vxlab.experiments.models import quiet_transformers
from vxlab.experiments.runs.answering import answering_of
from vxlab.experiments.runs.base_run import score_base
from vxlab.experiments.runs.inputs import Job, Materials
from vxlab.experiments.runs.leasing import lease_run
from vxlab.experiments.runs.listener import Listener, Stopped, require_listener, waiting
from vxlab.experiments.runs.probe import fit_probe
from vxlab.experiments.runs.recorder import best_epoch, keep_predictions, record_run, score_rows, validation_rows
from vxlab.experiments.runs.train_or_take import prepare_store, settle_training
from vxlab.experiments.runs.trainer import AdapterTrainer, Watch, training_arguments, usable_checkpoint
from vxlab.experiments.scoring import compute
from vxlab.experiments.store import CHECKPOINTS, LOCK, Store, Where, open_store


def run(
    spec: RunSpec,
    *,
    store: Where = None,
    fresh: bool = False,
    train: bool = True,
    progress: bool = True,
    listener: Listener | None = None,
    evaluate: Tasks = (),
) -> RunRecord:
    """Fine-tune as the spec says, or return the finished run that the store already has.

    After each epoch the model is evaluated on the validation split, and the checkpoint with the best first metric of
    the task is evaluated on the test split once. A run that was killed goes on from its last epoch. A run whose loss
    is no longer finite, or 10 times its start, ends early with the status ``diverged``. A run whose spec has
    ``ends_after`` below 1 ends there with the status ``ended early``, validated and without a test score.

    A run that its listener stops is validated once more, where steps were taken since the last time, and returned with
    the status ``stopped``: its folder holds the best checkpoint's adapter, it has no test score, and the store does not
    count it as done. The next call goes on from the last whole epoch, as after a kill, and ends with the numbers of a
    run that was never stopped.

    Args:
        spec: the run.
        store: a :class:`vxlab.Store`, or where one is: an SQLite file, a folder, or a database's URL; None means
            ``runs.db`` in ``VXLAB_REPORTS``, or in ``./reports``.
        fresh: train again although the store has the run, and replace its folder's files.
        train: False takes what the store has, and raises where it lacks the run.
        progress: show a bar with the time left.
        listener: told of steps, losses and scores as they come, and asked whether to stop; None where torchrun started
            several processes.
        evaluate: outside tasks that the finished run and its untuned base are evaluated on, as
            :func:`vxlab.evaluate` takes them; they are loaded before anything is trained. The store keeps what comes:
            ``vxlab.evaluate(record, tasks)`` shows it.

    Returns:
        The record, with the folder that holds the adapter and the test predictions.

    Raises:
        VxlabError: the model, the task, the targets, the device or the precision cannot be had; or the store fails,
            lacks a run that is not to be trained, or has one trained now that is to be trained again; or the listener
            stopped the run while another process trained it; or the environment names processes that torchrun did not
            start.
    """
    if not isinstance(spec, RunSpec):
        raise VxlabError(f"spec={checks.quote(spec)} is no vxlab.RunSpec; many runs are for vxlab.sweep or compare")
    progress, (fresh, train) = checks.settle("progress", progress, bool), settle_training(fresh, train)
    require_listener(listener)
    if listener is not None and not spec.method.by_gradient:
        raise VxlabError(f"a listener hears of gradient steps, and {spec.method} takes none; leave listener out")
    materials = Materials(reuse=False)
    asked = _plan_evaluation(spec, materials, evaluate)
    job = materials.job(spec)
    with open_store(store) as results:
        folder = results.folder_of(job.key)
        prepare_store([job], results, fresh, train)
        if hardware.processes() > 1:
            record = _one_of_many(job, results, materials, progress)
        else:
            record = settle_job(job, results, lambda: train_job(job, folder, materials, progress, listener), listener)
        if asked is not None and record.status == "finished" and _is_first():
            evaluate_on(record, asked, store=results, device=job.device, progress=progress)
        return record


def settle_job(job: Job, results: Store, train: Callable[[], RunRecord], listener: Listener | None = None) -> RunRecord:
    """Return the store's record of a job; where it has none, lease the job, train it and keep what comes.

    Args:
        job: the run.
        results: the store.
        train: called where nobody has trained the job; what was stopped is returned and not kept.
        listener: told while another process trains the job.

    Raises:
        VxlabError: as :func:`run`.
    """
    try:
        with lease_run(results, job, waiting(listener)) as owner:
            if owner is not None:
                record = train()
                if record.status == "stopped":
                    return record
                results.finish(record, owner)
    except Stopped:
        raise VxlabError(f"run {job.key[:12]} was stopped here; the process that trains it goes on") from None
    if (kept := results.record(job.key)) is None:
        raise VxlabError(f"run {job.key[:12]} was taken out of the store while it ran; run it again")
    return kept


Prepare = Callable[[Job, Path, Materials, bool, Listener | None], tuple[AdapterTrainer, Watch]]
"""Of what :func:`train_job` is given: a trainer that is ready to train, and its watch."""


@hardware.by_the_spec_alone()
@pass_over_what_is_there()
def train_job(
    job: Job,
    folder: Path,
    materials: Materials,
    progress: bool = False,
    listener: Listener | None = None,
    prepare: Prepare | None = None,
) -> RunRecord:
    """Train a job in its folder and return its record, or the record of an earlier training that is there.

    What is needed to go on after a kill or a stop stays in the folder; no store is touched.

    Args:
        job: the run.
        folder: its own.
        materials: what it needs.
        progress: show a bar.
        listener: as :func:`run` takes it.
        prepare: makes the trainer of a run by gradient steps; None trains it alone.
    """
    if (found := RunRecord.whole(folder, job.key)) is not None:
        return found
    commit()  # now: the files may change while the run trains
    held = hardware.reset_peak_memory(job.device)
    set_seed(job.spec.seed)
    train = _prepared(job, folder, materials, progress, listener, held, prepare or _alone)
    folder.mkdir(parents=True, exist_ok=True)  # only now: what the model or the targets refuse leaves nothing
    with _alone_in(folder, waits=prepare is None):
        if (found := RunRecord.whole(folder, job.key)) is not None:
            return found
        return train()


def _prepared(
    job: Job,
    folder: Path,
    materials: Materials,
    progress: bool,
    listener: Listener | None,
    held: int,
    prepare: Prepare,
) -> Callable[[], RunRecord]:
    """Load what a job needs, and return what trains it."""
    if not job.spec.method.by_gradient:
        model = materials.model(job.spec).to(hardware.own_device(job.device)).eval()
        untrained = fit_probe if materials.task(job.spec).kind.trains_head else score_base
        return lambda: untrained(job, folder, materials, model, held, progress)
    trainer, watch = prepare(job, folder, materials, progress, listener)
    return lambda: _train(job, folder, materials, trainer, watch, held)


def _train(job: Job, folder: Path, materials: Materials, trainer: AdapterTrainer, watch: Watch, held: int) -> RunRecord:
    task = materials.task(job.spec)
    started = watch.clock()
    with trainer.hold_weights_rounded():
        with quiet_transformers(), contextlib.closing(watch):
            try:
                trainer.train(resume_from_checkpoint=usable_checkpoint(folder / CHECKPOINTS))
            except Stopped:
                trainer.keep_the_best() if watch.stopped else trainer.keep_the_last()
        train_seconds = watch.clock() - started
        metrics = validation_rows(trainer, task.kind.scored_unwritten(task.metrics))
        if watch.status == "finished":
            metrics += _test_rows(trainer, job, materials, folder)
    with trainer.finishing():
        peak = hardware.peak_memory(job.device) - held
        record = record_run(
            job, folder, materials, trainer, watch, metrics=metrics, train_seconds=train_seconds, peak_memory=peak
        )
    if trainer.is_world_process_zero() and watch.status != "stopped":
        record.save()
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return record


@contextlib.contextmanager
def _alone_in(folder: Path, waits: bool = True) -> Iterator[None]:
    """Hold a run's folder: a lease may run out while its holder still trains, and two would spoil each other's files.

    The processes of torchrun share one folder by intent. A run that trains together with others does not wait for its
    folder: two processes that each hold one and want the other's would do so for good.
    """
    if hardware.processes() > 1:
        yield
        return
    try:
        held = FileLock(folder / LOCK).acquire(timeout=-1 if waits else 0)
    except Timeout as error:
        raise VxlabError(
            f"{folder} is held by another process that trains this run; call again when it is done"
        ) from error
    with held:
        yield
    (folder / LOCK).unlink(missing_ok=True)


def _one_of_many(job: Job, results: Store, materials: Materials, progress: bool) -> RunRecord:
    """Train as one of the processes that torchrun started: all of them train, the first writes."""
    if (found := results.record(job.key)) is not None:
        return found
    record = train_job(job, results.folder_of(job.key), materials, progress)
    if _is_first():
        with lease_run(results, job) as owner:
            if owner is not None:
                results.finish(record, owner)
    return record


def _is_first() -> bool:
    """Say whether this is the first of the processes that torchrun started, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def _plan_evaluation(spec: RunSpec, materials: Materials, tasks: Tasks) -> Asked | None:
    """Load the outside tasks before anything is trained, and refuse a model that cannot be asked."""
    if not tasks:
        return None
    if spec.ends_after < 1:
        raise VxlabError(
            f"a run that ends after {spec.ends_after:g} of its steps is evaluated on nothing but validation"
        )
    if materials.task(spec).kind.trains_head:
        raise VxlabError(
            f"evaluate={checks.quote(tasks)}: the task {spec.task} trains a head that classifies, and lm-eval asks how "
            "likely a text is, or for one; leave evaluate out, or train a causal language model to write"
        )
    return plan_evaluation(tasks)


def _alone(
    job: Job, folder: Path, materials: Materials, progress: bool, listener: Listener | None
) -> tuple[AdapterTrainer, Watch]:
    watch = Watch(describe_training_of(job, materials), progress, listener, ends_after=job.spec.ends_after)
    return _trainer(job, folder, materials, watch), watch


def _trainer(job: Job, folder: Path, materials: Materials, watch: Watch) -> AdapterTrainer:
    make = answering_of(materials.task(job.spec).kind).trainer(job, materials)
    return make(model=materials.adapted(job), **trainer_settings(job, folder, materials, watch))


def describe_training_of(job: Job, materials: Materials) -> str:
    """Return what a job trains, in words for a progress bar."""
    return f"{job.spec.method.name} on {materials.task(job.spec).name}"


def trainer_settings(job: Job, folder: Path, materials: Materials, watch: Watch) -> dict[str, Any]:
    """Return what every trainer of a job is made of, beside its model."""
    spec, task = job.spec, materials.task(job.spec)
    splits, metrics = materials.splits(spec), task.kind.scored_unwritten(task.metrics)
    rows = len(splits["train"])
    return {
        "args": training_arguments(
            spec, folder / CHECKPOINTS, job.device, job.precision, metrics[0], rows, alike=task.kind.reads == "images"
        ),
        "train_dataset": splits["train"],
        "eval_dataset": splits["validation"],
        "data_collator": materials.collate(spec),
        "compute_metrics": lambda output: compute(metrics, output.predictions, output.label_ids),
        "callbacks": [watch],
        "head_learning_rate": spec.head_learning_rate,
        "augment": functools.partial(task.kind.augment, form=spec.form),
    }


def _test_rows(trainer: AdapterTrainer, job: Job, materials: Materials, folder: Path) -> list[dict[str, Any]]:
    """Evaluate the chosen checkpoint on every test split, and keep its predictions in the rows' own order."""
    rows, answers, task = [], {}, materials.task(job.spec)
    for name in (name for name in task.splits if name.startswith("test")):
        answers[name], scores = answering_of(task.kind).test(trainer, job, materials, name)
        rows += score_rows(best_epoch(trainer), name, scores)
    if trainer.is_world_process_zero():
        keep_predictions(folder, job, materials, answers)
    return rows
