"""Sentences about how runs were computed, from their records."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from vxlab.experiments import RunRecord
from vxlab.experiments.provenance.mixed_runs import UNKNOWN, device_of
from vxlab.experiments.provenance.probe_words import choice_in_words
from vxlab.words import number_of

MOST = 4
"""Values of a fact that are listed where runs differ."""


def computed_sentence(records: Iterable[RunRecord]) -> str:
    """Return in a sentence what runs were computed in and on, for a figure's caption.

    Args:
        records: of the runs that the figure shows.
    """
    runs = distinct(records)
    trained = [run for run in runs if run.trains]
    precision, device = agree([precision_of(run) for run in trained or runs]), agree([device_of(run) for run in runs])
    on_cpu = [run for run in runs if device_of(run) == "CPU"]
    threads = agree([str(run.hardware.get("threads", UNKNOWN)) for run in on_cpu])
    told = [f"Precision of these runs: {precision}", f"device: {device}"]
    told += [f"threads of a run: {threads}"] if on_cpu else []
    return f"{'; '.join(told)}."


def training_sentence(record: RunRecord) -> str:
    """Return how long a run's training took, in what and on what, its memory, and which epoch was kept (Markdown).

    Args:
        record: of any run that ended.
    """
    if record.probe:
        fitted = f"features read and fitted in {record.train_seconds:,.0f} s, without epochs"
        return f"**probe**: {fitted}; {choice_in_words(record)}."
    if not record.trains:
        return (
            f"**{record.spec['method']['name']}**: scored as it is in {record.train_seconds:,.0f} s, without training."
        )
    device = device_of(record)
    place = str(record.hardware.get("processor", device)) if device == "CPU" else device
    threads = record.hardware.get("threads")
    cpu = f", threads: {threads}" if device == "CPU" and threads else ""
    kind = "resident beyond what the process held before" if device == "CPU" else "allocated on the GPU"
    if together := record.training.get("stacked"):
        kind += f", by {together} runs that trained together"
    told = [
        f"**{record.spec['method']['name']}**: {record.steps:,} steps{_times(record)}, {precision_of(record)}, on "
        f"{place}{cpu}",
        f"peak memory {record.peak_memory / 2**30:.2f} GiB ({kind})",
        _kept(record),
    ]
    return "; ".join(told) + "."


def precision_of(record: RunRecord) -> str:
    """Return a run's precision in words: ``float32``, or what autocast computed in and what was kept in float32."""
    told = record.training
    if not told:
        return record.precision if record.precision == "float32" else f"{record.precision} by autocast"
    kept = ", ".join(dict.fromkeys([*told["weights"], *told["trained"]]))
    return f"products in {told['autocast']} by autocast, weights in {kept}" if told["autocast"] else kept


def distinct(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Return each run once, in the order in which they come."""
    return list({run.key: run for run in records}.values())


def agree(values: Sequence[str]) -> str:
    """Return the one value, or each with its number of runs, the most frequent first."""
    counts = Counter(filter(None, values))  # what a method does not have is no difference
    if len(counts) < 2:
        return next(iter(counts), "")
    told = [f"{value} ({number_of(count, 'run')})" for value, count in counts.most_common(MOST)]
    more = [f"{len(counts) - MOST} other values"] if len(counts) > MOST else []
    return "; ".join([*told, *more])


def _times(record: RunRecord) -> str:
    if math.isnan(record.step_seconds):
        return ""
    # Of a run that was taken up again, nobody measured what was before.
    timed = record.training.get("timed_steps", record.steps)
    of = "" if timed == record.steps else f" for the last {timed:,}, since it was taken up again"
    step = f"{1000 * record.step_seconds:,.0f} ms a step in the median"
    return f" in {record.train_seconds:,.0f} s{of}, validation included ({step})"


def _kept(record: RunRecord) -> str:
    if record.best_epoch is None:
        return f"{record.status} before a checkpoint was chosen"
    return f"best on validation after epoch {record.best_epoch:g} of {record.spec['epochs']}, and that one is tested"
