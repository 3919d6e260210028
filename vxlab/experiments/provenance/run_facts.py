"""What made the numbers of a page: facts of its runs from their records, one value where they agree."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.experiments import RunRecord, RunSpec, method_label
from vxlab.experiments.provenance.identities import base_in_words, data_of, list_versions, own_identity, weights_of
from vxlab.experiments.provenance.mixed_runs import UNKNOWN, device_of
from vxlab.experiments.provenance.probe_words import choice_in_words
from vxlab.experiments.provenance.run_words import MOST, agree, distinct, precision_of
from vxlab.experiments.scoring import in_words
from vxlab.experiments.tasks.kinds import recorded_kind
from vxlab.words import number_of

if TYPE_CHECKING:
    import pandas as pd

    from vxlab.experiments.sweeps import Comparison

_DIGITS = 12


def run_facts(records: Iterable[RunRecord], comparison: "Comparison | None" = None) -> "pd.DataFrame":
    """Return what made some runs' numbers, a row a fact: ``fact`` and ``value``, in words.

    Where the runs agree there is one value, else each with its number of runs. What a record does not hold is "not
    recorded", and is never filled in from a default.

    Args:
        records: of the runs that a page shows, tuning runs among them.
        comparison: whose runs are among these: it tells which chose a learning rate, and which are reported.
    """
    import pandas as pd

    runs = distinct(records)
    rows = [("runs", _statuses(runs)), *_chosen(runs, comparison), ("seeds", _seeds(runs, comparison))]
    rows.append(("draws of the shots", _draws(runs, comparison)))
    rows += [(name, agree([of(run) for run in runs])) for name, of in _OF_ALL.items()]
    trained = [run for run in runs if run.trains]
    rows += [(name, _rates(trained, of)) for name, of in _RATES.items() if trained]
    rows += [(name, agree([of(run) for run in trained])) for name, of in _OF_TRAINING.items() if trained]
    rows.append(("precision", agree([precision_of(run) for run in trained or runs])))
    rows += [(name, agree([of(run) for run in runs])) for name, of in _OF_MACHINE.items()]
    return pd.DataFrame([(name, value) for name, value in rows if value], columns=["fact", "value"])


def run_list(records: Iterable[RunRecord], comparison: "Comparison | None" = None) -> "pd.DataFrame":
    """Return a row a run: ``run`` (first digits of its key), ``method``, ``stage`` (tuning or report; "" of a run
    outside a comparison), ``seed``, ``draw`` where runs learned from shots, ``rate``, ``head's rate``, ``status`` and
    ``epoch kept``.

    Args:
        records: as :func:`run_facts` takes them.
        comparison: as :func:`run_facts` takes it.
    """
    import pandas as pd

    stages = _stages(comparison)
    rows = [
        {
            "run": run.key[:_DIGITS],
            "method": method_label(run.spec["method"]),
            "stage": stages.get(run.key, ""),
            "seed": run.spec.get("seed") if run.trains else None,
            **({"draw": run.spec.get("draw", 0)} if run.spec.get("shots") else {}),
            "rate": run.spec.get("learning_rate"),
            "head's rate": run.spec.get("head_learning_rate"),
            "status": run.status,
            "epoch kept": run.best_epoch if run.trains else None,
        }
        for run in distinct(records)
    ]
    return pd.DataFrame(rows)


def _statuses(runs: Sequence[RunRecord]) -> str:
    counts = Counter(run.status for run in runs)
    return f"{len(runs)}: " + ", ".join(f"{count} {status}" for status, count in sorted(counts.items(), reverse=True))


def _chosen(runs: Sequence[RunRecord], comparison: "Comparison | None") -> list[tuple[str, str]]:
    """Return what was chosen on which split, and which rates were not chosen at all."""
    trained = [run for run in runs if run.trains]
    metrics = " or ".join(dict.fromkeys(in_words(run.task["metrics"][0]) for run in trained))
    tuned = set(_stages(comparison)) if comparison is not None and comparison.fair.learning_rates > 1 else set()
    given = [run for run in trained if run.key not in tuned]
    on_validation = [f"the epoch whose checkpoint is scored, by {metrics}"] if trained else []
    if comparison is not None and tuned:
        seeds, share = comparison.fair.tuning_seeds, comparison.fair.tuning_share
        luck = "draw" if comparison.fair.draws_vary else "seed"
        short = f"loss after {share:.3g} of the steps"
        several = f"the median over {seeds} tuning {luck}s" + ("" if share == 1 else f" of the {short}")
        over = several if seeds > 1 else f"the {'score' if share == 1 else short} at one tuning {luck}"
        on_validation.append(f"each candidate's learning rates, by {over}")
    probes = [run for run in runs if run.probe]
    folds = {bool(run.probe.get("folds")) for run in probes}
    on_validation += ["the probe's pooling" + (" and strength" if False in folds else "")] if probes else []
    others = f" of {len(given)} runs" if tuned else ""
    return [
        ("chosen on validation", "; ".join(on_validation)),
        ("chosen in train", "the probe's strength of regularisation, by cross-validation" if True in folds else ""),
        ("chosen on test", "nothing; what a run chose is scored there once"),
        ("the probe's choice", agree([choice_in_words(run) for run in probes])),
        ("given, not chosen", f"the learning rates{others}" if given else ""),
    ]


def _seeds(runs: Sequence[RunRecord], comparison: "Comparison | None") -> str:
    """Return the seeds by number, of each stage where there are stages."""
    return _by_stage([(run, int(run.spec["seed"])) for run in runs if "seed" in run.spec and run.trains], comparison)


def _draws(runs: Sequence[RunRecord], comparison: "Comparison | None") -> str:
    """Return the draws as :func:`_seeds` returns the seeds; "" where no run learned from shots."""
    few = [run for run in runs if run.spec.get("shots")]
    shots = " or ".join(str(each) for each in sorted({run.spec["shots"] for run in few}))
    told = _by_stage([(run, int(run.spec.get("draw", 0))) for run in few], comparison)
    return f"{told} (of {shots} shots a class)" if few else ""


def _by_stage(numbered: Sequence[tuple[RunRecord, int]], comparison: "Comparison | None") -> str:
    stages, numbers = _stages(comparison), dict[str, set[int]]()
    for run, number in numbered:
        numbers.setdefault(stages.get(run.key, "other runs" if stages else ""), set()).add(number)
    told = {name: ", ".join(map(str, sorted(own))) for name, own in numbers.items()}
    return "; ".join(f"{name} {several}".strip() for name, several in told.items())


def _stages(comparison: "Comparison | None") -> dict[str, str]:
    return {} if comparison is None else dict(zip(comparison.runs["key"], comparison.runs["stage"], strict=True))


def _model(run: RunRecord) -> str:
    weights = weights_of(run.identity).partition(" ")[0] or UNKNOWN
    library = [f"by {name} {run.identity[name]}" for name in ("bitsandbytes", "torchao") if name in run.identity]
    return f"{' '.join([base_in_words(run.spec), *library])}, weights {weights}"


def _data(run: RunRecord) -> str:
    rows = ", ".join(f"{count:,} {split}" for split, count in run.task.get("rows", {}).items())
    told = f"{Path(str(run.task.get('name'))).name}, rows {data_of(run.identity)[:_DIGITS] or UNKNOWN}"
    return f"{told} ({rows})" if rows else told


def _length(run: RunRecord) -> str:
    epochs, steps = number_of(run.spec["epochs"], "epoch"), f"{run.steps:,} steps"
    return f"{epochs}, {steps}" if run.spec.get("ends_after", 1) == 1 else f"the first {steps} of {epochs}"


def _told(read: Callable[[dict[str, Any], RunRecord], str]) -> Callable[[RunRecord], str]:
    return lambda run: read(run.training, run) if run.training else UNKNOWN


def _optimizer(told: Mapping[str, Any], run: RunRecord) -> str:
    first, second = told["betas"]
    decays = {kind: "/".join(f"{value:g}" for value in values) for kind, values in told["weight_decay"].items()}
    matrices, vectors = decays.get("matrices") or "0", decays.get("vectors") or "0"
    alike = matrices == vectors
    decay = f"weight decay {matrices}" + ("" if alike else f" on matrices, {vectors} on vectors")
    return f"{told['optimizer']}, β₁ = {first:g}, β₂ = {second:g}, ε = {told['eps']:g}, {decay}"


def _schedule(told: Mapping[str, Any], run: RunRecord) -> str:
    warm, steps = told["warmup_steps"], told["total_steps"]
    share = f"{100 * warm / steps:.2g} % of the steps" if steps else "no step"
    end = "constant" if told["schedule"].startswith("constant") else "down to 0"
    return f"{told['schedule']}: from 0 to the rate in the first {share} ({warm:,} of {steps:,}), then {end}"


def _clipping(told: Mapping[str, Any], run: RunRecord) -> str:
    return f"to norm {told['clipping']:g}, over all trained parameters together" if told["clipping"] else "none"


def _dropout(told: Mapping[str, Any], run: RunRecord) -> str:
    by_name = [f"{name} {value:g}" for name, value in told["dropout"]["model"].items()]
    return f"{', '.join(by_name) or 'none'} (as its config has it)"


def _shots(run: RunRecord) -> str:
    shots = run.spec.get("shots")
    return f"{shots:,} of each class, draw {run.spec.get('draw', 0)}" if shots else ""


def _images(run: RunRecord) -> str:
    """Return how a model saw its images: "" where it reads texts."""
    if recorded_kind(run.task).reads != "images":
        return ""
    side = run.spec.get("resolution")
    size = f"{side} × {side} pixels" if side else "of the size that the model's image processor makes"
    if not run.trains:
        return size
    changed = {"none": "unchanged", "flip-crop": "mirrored and moved at random"}
    augmentation = run.spec.get("augmentation", RunSpec.augmentation)
    return f"{size}; in training {changed.get(augmentation, augmentation)}"


def _batches(told: Mapping[str, Any], run: RunRecord) -> str:
    if recorded_kind(run.task).reads == "images":
        longest, what = None, "image"
    else:
        longest, what = run.spec.get("max_length"), "text"
    alike = " of similar lengths" if told["batches"] == "group_by_length" else ""
    parts, packed = run.spec.get("gradient_accumulation", 1), run.spec.get("packing", False)
    return (
        f"{number_of(run.spec['batch_size'], what)}{alike}"
        + (f", of at most {longest:,} tokens" if longest else "")
        + (f", in {parts} parts" if parts > 1 else "")
        + (", one after the other in one row" if packed else "")
    )


def _template(run: RunRecord) -> str:
    digits = run.identity.get("chat_template", "")[:_DIGITS]
    return f"{Path(str(run.spec['chat_template'])).name}, {digits}" if digits else ""


def _decoding(run: RunRecord) -> str:
    """Return how a model wrote its texts: "" where it writes none."""
    names = ("max_new_tokens", "num_beams", "length_penalty", "no_repeat_ngram_size")
    # A spec leaves out what is usual.
    most, beams, penalty, size = (run.spec.get(name, getattr(RunSpec, name)) for name in names)
    if not (recorded_kind(run.task).writes and most):
        return ""
    how = f"by {beams} beams, length penalty {penalty:g}" if beams > 1 else "greedily"
    once = f", no {size} tokens in a row twice" if size else ""
    return f"{how}, at most {most:,} tokens{once}"


def _rates(runs: Sequence[RunRecord], of: str) -> str:
    """Return the peak rates that were trained with, as they are, or of many the lowest and the highest."""
    part = "head" if of.startswith("head") else "backbone"
    rates = sorted({float(run.spec[of]) for run in runs if of in run.spec and run.parameters.get(part)})
    if len(rates) > MOST:
        return f"{len(rates)} from {rates[0]:g} to {rates[-1]:g}"
    return ", ".join(f"{rate:g}" for rate in rates)


def _memory(run: RunRecord) -> str:
    size = run.hardware.get("memory")
    return f"{size / 2**30:.0f} GiB" if size else UNKNOWN


def _versions(run: RunRecord) -> str:
    told = {name: value for name, value in run.versions.items() if name != "commit"}
    return list_versions({name.replace("python", "Python"): value for name, value in told.items()}) or UNKNOWN


def _commit(run: RunRecord) -> str:
    known = "system" in run.hardware  # which is recorded since commits are
    return run.versions.get("commit") or ("none: not run from a git checkout" if known else UNKNOWN)


_RATES = {"learning rates": "learning_rate", "learning rates of the head": "head_learning_rate"}
_OF_ALL: dict[str, Callable[[RunRecord], str]] = {
    "model": _model,
    "data": _data,
    "shots": _shots,
    "images": _images,
    "chat template": _template,
    "writing": _decoding,
}
_OF_TRAINING: dict[str, Callable[[RunRecord], str]] = {
    "optimizer": _told(_optimizer),
    "schedule": _told(_schedule),
    "gradient clipping": _told(_clipping),
    "dropout of the model": _told(_dropout),
    "dropout of the adapters": _told(lambda told, run: ", ".join(f"{value:g}" for value in told["dropout"]["adapter"])),
    "batches": _told(_batches),
    "label smoothing": lambda run: f"{run.spec['label_smoothing']:g}" if "label_smoothing" in run.spec else "",
    "training": _length,
    "processes of a run": lambda run: run.identity.get("processes", "1"),
    "runs in one pass": lambda run: f"up to {run.training['stacked']}" if "stacked" in run.training else "",
}
_OF_MACHINE: dict[str, Callable[[RunRecord], str]] = {
    "device": device_of,
    "processor": lambda run: str(run.hardware.get("processor", UNKNOWN)),
    "threads of a run": lambda run: str(run.hardware.get("threads", UNKNOWN)),
    "memory of the machine": _memory,
    "operating system": lambda run: str(run.hardware.get("system", UNKNOWN)),
    "versions": _versions,
    "versions of single methods": lambda run: list_versions(own_identity(run.identity)),
    "commit of vxlab": _commit,
}
