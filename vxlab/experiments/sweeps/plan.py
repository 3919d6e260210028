"""Before a sweep starts: whether every method fits its layers, how many runs, how long, and how many bytes."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import nn

from vxlab.adapters import Base, Family, Method, resolve_targets, trainable_parameters
from vxlab.adapters.placement import stored_bases
from vxlab.errors import VxlabError
from vxlab.experiments import layers, method_label, rank_of
from vxlab.experiments.costs import forward_loss, time_call, training_step
from vxlab.experiments.engines import Engine
from vxlab.experiments.probes import FOLDS, available_poolings, pool, strengths
from vxlab.experiments.runs import EVAL_BATCH, Job, Materials, answering_of, shared_materials
from vxlab.experiments.stacking import typical_batch
from vxlab.experiments.store import ENDED, Store
from vxlab.experiments.sweeps.bundles import Bundles, wait_for_timings
from vxlab.words import in_bytes, number_of, time_left

_START_SECONDS = 0.5
"""Of a run beside its steps and evaluations: a copy of the model, the adapters, what is saved."""
_FIT_SECONDS = 2e-8
"""Of fitting one classifier of a probe, for each number among its features: 4,000 rows of 384 in 0.03 s."""
_SETTINGS_BYTES = 20_000
"""Of a run's record and its adapter's settings, in its folder and in the store."""


_WORDS = {
    "model": "other weights",
    "task": "other data",
    "loading": "the model as it was saved",
    "processes": "another number of processes",
    "precision": "another precision",
    "vxlab": "another version of vxlab",
    "peft": "another version of peft",
    "chat_template": "another chat template",
    "code": "other code of their method",
    "bitsandbytes": "another version of bitsandbytes",
    "torchao": "another version of torchao",
}
"""What a difference in a run's identity means."""


class Pace(NamedTuple):
    """What one run takes."""

    seconds: float
    stored: int
    """bytes, in the run's folder and in the store"""
    steps: float = 0.0
    """seconds of its training steps"""

    def sped_up(self, times: float) -> "Pace":
        """Return the pace of a run whose steps are so many times as fast."""
        return self._replace(seconds=self.seconds - self.steps + self.steps / times, steps=self.steps / times)


def check_fit(jobs: Sequence[Job]) -> None:
    """Refuse methods that do not fit the layers they are for.

    Raises:
        VxlabError: a rank above a layer's limit, or targets that match nothing; every such method is named.
    """
    different = {
        (job.spec.model, job.spec.quantisation, job.spec.task, job.spec.method, job.spec.targets): job for job in jobs
    }
    refused = {}
    for job in different.values():
        try:
            _fit(job, shared_materials())
        except VxlabError as error:
            refused[f"{method_label(job.spec.method)} on {layers(job.spec.method, job.spec.targets)}"] = str(error)
    if refused:
        told = "\n".join(f"  {name}: {error}" for name, error in refused.items())
        raise VxlabError(f"{len(refused)} of {len(different)} methods do not fit, and nothing has run:\n{told}")


def plan_runs(
    jobs: Sequence[Job],
    results: Store,
    engine: Engine,
    more: Mapping[str, int] | None = None,
    later: Sequence[Job] = (),
    bundles: Bundles | None = None,
) -> str:
    """Say how many runs there are, how many are done, and what the others take: time and bytes.

    One training step and one evaluation batch of each method, at its largest rank, are timed where the runs will be.

    Args:
        jobs: the runs.
        results: the store.
        engine: which will train them.
        more: how many there are by stage, these and those that follow from them; None where these are all.
        later: runs that take as long as those that follow; () where these do.
        bundles: says which will train together; None trains each alone.
    """
    unique = {job.key: job for job in jobs}
    states = {key: state.status for key, state in results.status(unique).items()}
    ahead = [job for key, job in unique.items() if states.get(key) not in ENDED]
    done = len(unique) - len(ahead)
    total = sum(more.values()) - more.get("widening", 0) if more else len(unique)
    so_far = _so_far(done, total, list(states.values()).count("failed"), results)
    told = [f"{number_of(total, 'run')}{_stages(more)}{so_far}"]
    told += _changed(list(unique.values()), results)
    if not ahead:
        return " ".join(told)
    paces, unknown = _paces([*ahead, *later], engine)
    told += [f"{name} could not be tried out: {error}." for name, error in unknown.items()]
    bundles = bundles or Bundles(1)
    bundles.decide(ahead, engine, shown=True)
    per_run = [paces[_kind(job)].sped_up(bundles.speed(job)) for job in ahead if _kind(job) in paces]
    if not per_run:
        return " ".join(told)
    left = total - done
    following = [paces[_kind(job)].sped_up(bundles.speed(job)) for job in later if _kind(job) in paces] or per_run
    seconds, stored, _ = (
        len(ahead) * fmean(here) + (left - len(ahead)) * fmean(then)
        for here, then in zip(zip(*per_run, strict=True), zip(*following, strict=True), strict=True)
    )
    seconds /= max(1, engine.slots)
    most = "At most a" if more and done and left > len(ahead) else "A"
    told.append(f"{most}bout {time_left(seconds)} to go, and {in_bytes(stored)} to be kept in {results.folder}.")
    return " ".join([*told, *bundles.in_words()])


def _so_far(done: int, total: int, failed: int, results: Store) -> str:
    """Return the end of the sentence that says how many runs there are."""
    if not done:
        return f"; {failed} failed before and are tried again." if failed else "."
    if done == total:
        return f"; all of them are in {results.name} already, and nothing is left to train."
    again = f", {failed} failed before and {'is' if failed == 1 else 'are'} tried again" if failed else ""
    return f"; {done} of them {'is' if done == 1 else 'are'} in {results.name} already{again}, {total - done} to train."


def measure(job: Job) -> Pace:
    """Time a step and an evaluation batch of a run, on texts of median length, and count what it will store."""
    materials = shared_materials()
    rows = {name: len(split) for name, split in materials.splits(job.spec).items()}
    tests = sum(rows[name] for name in rows if name.startswith("test")) if job.spec.ends_after == 1 else 0
    time_parts = _time_training if job.spec.method.by_gradient else _time_probe
    time_parts = _time_base if isinstance(job.spec.method, Base) else time_parts
    steps, seconds, numbers = time_parts(job, materials, rows, tests)
    kept = 2 * _tested(materials, job) * answering_of(materials.task(job.spec).kind).kept_bytes(job, materials)
    return Pace(seconds + steps + _START_SECONDS, 4 * numbers + kept + _SETTINGS_BYTES, steps)


def _time_training(job: Job, materials: Materials, rows: Mapping[str, int], tests: int) -> tuple[float, float, int]:
    """Return the seconds of a run's steps, those of its evaluations, and how many numbers its adapter and head have."""
    spec = job.spec
    with torch.random.fork_rng(devices=[]):
        model = materials.adapted(job).to(job.device).train()
    batch = typical_batch(job, materials)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-12)
    step = training_step(model, batch, optimizer, job.precision, materials.task(spec).kind.batch_loss)
    step()
    step_seconds = time_call(step)
    steps = spec.ends_after * spec.epochs * -(-rows["train"] // spec.batch_size)
    validations = math.ceil(spec.ends_after * spec.epochs)
    scored = _time_scoring(model.eval(), job, materials, validations * rows["validation"] + tests, batch)
    counts = trainable_parameters(model)
    kept = sum(basis.numel() for basis in stored_bases(model).values())
    return steps * step_seconds, scored, counts.backbone + counts.head + kept


def _time_base(job: Job, materials: Materials, rows: Mapping[str, int], tests: int) -> tuple[float, float, int]:
    """Return the seconds of an untuned base, which is scored as it is, and that it keeps no number."""
    model = materials.model(job.spec).to(job.device).eval()
    batch = typical_batch(job, materials)
    return 0.0, _time_scoring(model, job, materials, rows["validation"] + tests, batch), 0


def _time_scoring(
    model: nn.Module, job: Job, materials: Materials, scored: int, batch: Mapping[str, torch.Tensor]
) -> float:
    """Return the seconds of so many rows of evaluation, and of what is written to the test items."""
    kind = materials.task(job.spec).kind
    with torch.inference_mode():
        forward = time_call(lambda: forward_loss(model, batch, job.precision, kind.batch_loss))
    written = _tested(materials, job) * answering_of(kind).writing_seconds(model, job, materials)
    return scored / job.spec.batch_size * forward + written


def _time_probe(job: Job, materials: Materials, rows: Mapping[str, int], tests: int) -> tuple[float, float, int]:
    """Return the seconds of a probe, which reads every row once, with its fits reckoned, and its head's numbers."""
    labels = materials.task(job.spec).num_labels
    with torch.random.fork_rng(devices=[]):
        model = materials.model(job.spec).to(job.device).eval()
    batch = typical_batch(job, materials, EVAL_BATCH)
    poolings = available_poolings(model, materials.splits(job.spec)["train"], materials.collate(job.spec))
    with torch.inference_mode():
        forward = time_call(lambda: forward_loss(model, batch, job.precision))
        width = pool(model, batch, ["mean"])["mean"].shape[1]
    fit = _FIT_SECONDS * rows["train"] * width * len(strengths(labels)) * FOLDS * len(poolings)
    return 0.0, sum(rows.values()) / EVAL_BATCH * forward + fit, labels * (width + 1)


def _tested(materials: Materials, job: Job) -> int:
    """Return how many items are tested; where an item has several references, it has as many rows."""
    if job.spec.ends_after < 1:
        return 0
    return sum(len(rows) for name, rows in materials.task(job.spec).splits.items() if name.startswith("test"))


def _changed(jobs: Sequence[Job], results: Store) -> list[str]:
    """Say how many runs the store has with other data, another model, precision or version, and trains anew."""
    reasons: Counter[str] = Counter()
    for job in jobs:
        if (before := results.same_spec_elsewhere(job.key, job.spec.settings())) and results.record(job.key) is None:
            parts = dict.fromkeys([*_WORDS, *before, *job.identity])
            differing = [name for name in parts if before.get(name) != job.identity.get(name)]
            reasons[" and ".join(_WORDS.get(name, f"another {name}") for name in differing)] += 1
    return [f"{count} were trained before with {reason}, and are new runs." for reason, count in reasons.items()]


def _paces(jobs: Sequence[Job], engine: Engine) -> tuple[dict[Any, Pace], dict[str, str]]:
    """Measure each kind of run by its largest rank, on the engine; return also why some could not be."""
    largest = {_kind(job): job for job in sorted(jobs, key=lambda job: _highest_rank(job.spec.method))}
    for job in largest.values():  # all at once: they are timed beside one another, as the runs will be
        engine.submit(job.key, measure, job)
    outcomes = wait_for_timings(engine, len(largest), "timing a step and an evaluation batch", shown=True)
    paces = {kind: outcomes[job.key].value for kind, job in largest.items() if not outcomes[job.key].error}
    failed = (job for job in largest.values() if outcomes[job.key].error)
    unknown = {method_label(job.spec.method): outcomes[job.key].error for job in failed}
    return paces, unknown


def _highest_rank(method: Method) -> int:
    return method.highest_rank if isinstance(method, Family) else rank_of(method) or 0


def _kind(job: Job) -> Any:
    spec = job.spec
    base = spec.model, spec.quantisation
    length = spec.epochs, spec.ends_after
    rows = spec.task, spec.train_examples, spec.shots
    return (spec.method.name, spec.targets, *base, *rows, spec.batch_size, spec.form, *length)


def _fit(job: Job, materials: Materials) -> None:
    base, method = materials.base(job.spec), job.spec.method
    if method.by_gradient:
        method.count(base, resolve_targets(base, job.spec.targets) if method.on_layers else {})


def _stages(more: Mapping[str, int] | None) -> str:
    if not more:
        return ""
    wider = f" (and up to {more['widening']} where ranges grow)" if more.get("widening") else ""
    return f": {more['tuning']} to tune{wider} and {more['report']} to report"
