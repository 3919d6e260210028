"""Trained adapters out of a bank: each answers its own test texts in batches that it shares with all others."""

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from vxlab.adapters.bank import AdapterBank
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, RunSpec, method_label
from vxlab.experiments.models import load_model
from vxlab.experiments.runs import Job, Materials
from vxlab.experiments.scoring import compute
from vxlab.progress import progress_bar


class _Row(NamedTuple):
    """A test text, and whose adapter reads it."""

    key: str
    number: int
    """in the run's test split"""
    tokens: dict[str, Any]


def scores_from_bank(
    records: Sequence[RunRecord],
    specs: Mapping[str, RunSpec],
    *,
    rows: int,
    folder: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Put finished runs into banks, one for each method and task head, and score all of a bank in mixed batches.

    Every batch holds the texts of as many runs as there are, in turn. Scores are by the run's own metric; a run's own
    predictions were made with its adapter alone on the model, in batches of another shape.

    Columns: ``candidate``, ``task``, ``seed``, ``key``; ``metric``, ``own`` (the run's recorded test score), ``banked``
    (out of the bank), ``same`` (to the last digit); ``items``, ``changed`` (items whose answer changed: the largest
    logit's place), and ``difference``, the largest of any logit.

    Args:
        records: finished, of one model and classifiers all.
        specs: of each record by its key.
        rows: of a mixed batch.
        folder: for the bank's temporary files; None takes the system's.
        progress: show a bar.

    Raises:
        VxlabError: there is none, they are of several models, or the model answers in words.
    """
    if len({specs[each.key].model for each in records}) != 1:
        raise VxlabError(f"{len(records)} runs of several models, or of none, have no one bank; give runs of one model")
    banks: dict[Any, list[RunRecord]] = defaultdict(list)
    for record in records:
        banks[specs[record.key].method, specs[record.key].targets, record.task["num_labels"]].append(record)
    materials, found = Materials(), []
    with progress_bar(len(banks), "scoring out of banks", "bank", shown=progress) as bar:
        for own in banks.values():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                found += _of_bank(own, specs, rows, Path(scratch) / "bank", materials)
            bar.update()
    return pd.DataFrame(found)


def _of_bank(
    records: Sequence[RunRecord], specs: Mapping[str, RunSpec], rows: int, folder: Path, materials: Materials
) -> list[dict[str, Any]]:
    jobs = {each.key: materials.job(specs[each.key]) for each in records}
    job = next(iter(jobs.values()))
    if not materials.task(job.spec).kind.trains_head:
        raise VxlabError(f"{job.spec.model} answers in words, which mixed batches are not scored by; give classifiers")
    with torch.random.fork_rng(devices=[]):  # the head that is drawn is none that counts
        base = load_model(job.spec.model, records[0].task["num_labels"], job.spec.quantisation).eval()
    with AdapterBank.create(folder, base, job.spec.method, job.spec.targets) as bank:
        bank.add_many(list(jobs), [each.adapter_folder() for each in records])
        bank.attach(base.to(job.device))
        logits = _answers(bank, base, jobs, rows, materials)
    return [_compared(record, specs[record.key], logits[record.key]) for record in records]


@torch.no_grad()
def _answers(
    bank: AdapterBank, model: Any, jobs: Mapping[str, Job], rows: int, materials: Materials
) -> dict[str, Tensor]:
    """Return every run's logits of its test split, in the order of its rows, from batches that all runs share."""
    job = next(iter(jobs.values()))
    found: dict[str, dict[int, Tensor]] = {key: {} for key in jobs}
    waiting = _in_turn({key: _test_rows(key, each, materials) for key, each in jobs.items()})
    collate = materials.collate(job.spec)
    for at in range(0, len(waiting), rows):
        part = waiting[at : at + rows]
        batch = {name: each.to(job.device) for name, each in collate([row.tokens for row in part]).items()}
        batch.pop("labels")
        half = torch.autocast(torch.device(job.device).type, dtype=_dtype(job), enabled=job.precision != "float32")
        with bank.rows([row.key for row in part]), half:
            logits = model(**batch).logits.float().cpu()
        for row, own in zip(part, logits, strict=True):
            found[row.key][row.number] = own
    return {key: torch.stack([own[number] for number in sorted(own)]) for key, own in found.items()}


def _dtype(job: Job) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, job.precision)
    return dtype


def _test_rows(key: str, job: Job, materials: Materials) -> list[_Row]:
    split = materials.splits(job.spec)["test"]
    numbers = split["row"]
    return [
        _Row(key, int(number), tokens)
        for number, tokens in zip(numbers, split.remove_columns(["length", "row"]).to_list(), strict=True)
    ]


def _in_turn(rows: Mapping[str, Sequence[_Row]]) -> list[_Row]:
    """Return one row of each run after the other, as long as there are any."""
    most = max(len(each) for each in rows.values())
    return [each[at] for at in range(most) for each in rows.values() if at < len(each)]


def _compared(record: RunRecord, spec: RunSpec, logits: Tensor) -> dict[str, Any]:
    own, labels = record.predictions("test")
    metric = record.task["metrics"][0]
    score = float(compute([metric], logits.numpy(), labels.numpy())[metric])
    changed = 0 if own.shape[-1] == 1 else int((own.argmax(-1) != logits.argmax(-1)).sum())
    return {
        "candidate": method_label(record.spec["method"]), "task": spec.task, "seed": spec.seed, "key": record.key,
        "metric": metric, "own": record.score(metric), "banked": score, "same": record.score(metric) == score,
        "items": len(labels), "changed": changed, "difference": float((own - logits).abs().max()),
    }  # fmt: skip
