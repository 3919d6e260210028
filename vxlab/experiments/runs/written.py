"""What a model that writes answers a split with: how likely it finds the references, and texts of its own."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vxlab.errors import DataWarning
from vxlab.experiments.models import WRITTEN_AT_ONCE, write_texts
from vxlab.experiments.runs.inputs import Job, Materials
from vxlab.experiments.scoring import require_answers, text_statistics
from vxlab.experiments.tasks.kinds import IGNORED, answer_log_likelihoods, encode_prompts, writer_of
from vxlab.warn import warn_once

Array = NDArray[Any]
_BATCH = 16
"""Answers scored at a time."""
_TIMED_TOKENS = 5


def row_likelihoods(
    model: nn.Module, job: Job, materials: Materials, split: str, done: Callable[[int], object] = lambda rows: None
) -> NDArray[np.float64]:
    """Return (rows, 2): Σ log p of the answer's tokens of each row of the materials' split, and how many they are.

    Args:
        model: in evaluation mode, on its device.
        job: the run.
        materials: where its rows are.
        split: of them.
        done: told how many answers more were scored.
    """
    rows, collate = materials.splits(job.spec)[split], materials.collate(job.spec, packing=False)
    inputs = rows.remove_columns(["length", "row"])
    device, dtype = next(model.parameters()).device, getattr(torch, job.precision)
    found = []
    for start in range(0, len(rows), _BATCH):
        stop = min(start + _BATCH, len(rows))
        batch = {name: each.to(device) for name, each in collate([inputs[i] for i in range(start, stop)]).items()}
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=job.precision != "float32"):
            found.append(answer_log_likelihoods(model, batch).cpu().numpy())
        done(stop - start)
    return np.concatenate(found)


def likelihoods(
    model: nn.Module, job: Job, materials: Materials, split: str, done: Callable[[int], object] = lambda rows: None
) -> NDArray[np.float64]:
    """Return (items, 2): Σ log p of the tokens of each input's references, and how many they are.

    Args:
        model, job, materials, split, done: as :func:`row_likelihoods` takes them.
    """
    sums = np.zeros((len(materials.task(job.spec).splits[split]), 2))
    places = np.asarray(materials.splits(job.spec)[split]["row"])
    np.add.at(sums, places, row_likelihoods(model, job, materials, split, done))
    return sums


def mean_loss(sums: NDArray[Any]) -> float:
    """Return the loss per answer token of :func:`likelihoods`, or of statistics that begin with these."""
    total = sums[:, :2].sum(axis=0)
    return float(-total[0] / total[1])


def written_answers(
    model: nn.Module,
    job: Job,
    materials: Materials,
    split: str,
    sums: NDArray[np.float64],
    done: Callable[[int], object] = lambda rows: None,
) -> tuple[Array, Array, list[str] | None]:
    """Return (items, columns) statistics, (items,) a number for each input, and the texts.

    Without texts to write the statistics are ``sums`` alone.

    Args:
        model, job, materials, split, done: as :func:`likelihoods` takes them.
        sums: that it returned.
    """
    task, spec, tokenizer = materials.task(job.spec), job.spec, materials.tokenizer(job.spec)
    rows = task.splits[split][:]
    identities = identify(rows)
    if not spec.max_new_tokens:
        return sums, identities, None
    require_answers(task.metrics, rows["references"])
    _tell_short(job, materials, split)
    prompts = encode_prompts(rows, tokenizer, spec.form)
    end = writer_of(tokenizer, spec.form, "messages" in rows).end
    texts = write_texts(model, tokenizer, prompts, spec, end, job.precision, done)
    return text_statistics(task.metrics, sums, texts, rows["references"]), identities, texts


def _tell_short(job: Job, materials: Materials, split: str) -> None:
    """Say where even an input's shortest reference is longer than what may be written."""
    rows, most = materials.splits(job.spec)[split], job.spec.max_new_tokens
    shortest: dict[int, int] = {}
    for row, labels in zip(rows["row"], rows["labels"], strict=True):
        length = sum(token != IGNORED for token in labels) - 1  # without its end
        shortest[row] = min(length, shortest.get(row, length))
    if longer := [length for length in shortest.values() if length > most]:
        warn_once(
            f"max_new_tokens={most}: to {len(longer)} of the {len(shortest)} inputs of the {split} split all "
            f"references are longer, up to {max(longer)} tokens; what is written to them ends too soon, and scores low",
            DataWarning,
        )


def seconds_to_write(model: nn.Module, job: Job, materials: Materials) -> float:
    """Return about how long a model takes to write to one test prompt, in a batch of others of median length.

    A batch is written to for a few tokens; so long takes each of the others, up to the longest of a batch of training
    answers, or ``max_new_tokens``.

    Args:
        model: in evaluation mode, on its device.
        job: the run.
        materials: where its rows are.
    """
    spec, tokenizer = job.spec, materials.tokenizer(job.spec)
    rows, train = materials.task(spec).splits["test"][:], materials.splits(spec)["train"]
    prompts = sorted(encode_prompts(rows, tokenizer, spec.form), key=len)
    middle = max(0, (len(prompts) - WRITTEN_AT_ONCE) // 2)
    prompts = prompts[middle : middle + WRITTEN_AT_ONCE]
    end = writer_of(tokenizer, spec.form, "messages" in rows).end

    def seconds(tokens: int) -> float:
        started = time.perf_counter()
        write_texts(model, tokenizer, prompts, replace(spec, max_new_tokens=tokens), end, job.precision)
        return time.perf_counter() - started

    answers = [sum(token != IGNORED for token in labels) for labels in train[:WRITTEN_AT_ONCE]["labels"]]
    longest = min(spec.max_new_tokens, max(answers))
    seconds(1)  # the first call of all is slower
    first, few = seconds(1), seconds(min(_TIMED_TOKENS, longest))
    each = max(0.0, few - first) / max(1, min(_TIMED_TOKENS, longest) - 1)
    return float(first + each * (longest - 1)) / len(prompts)


def identify(rows: dict[str, Sequence[Any]]) -> NDArray[np.int64]:
    """Return (items,) a number for each input with its references: by these, runs on the same rows are known."""
    texts = zip(rows["text"], rows["references"], strict=True)
    digests = [hashlib.sha256("\0".join([text, *references]).encode()).digest()[:8] for text, references in texts]
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)
