"""Where training several runs in one pass pays: timed steps by method, texts, their length, and runs at once."""

import csv
import random
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from vxlab.experiments import RunSpec, method_label
from vxlab.experiments.runs import Materials
from vxlab.experiments.stacking import UnstackableError, masks_differ, reason_alone, time_stack, with_own_masks
from vxlab.progress import progress_bar

_WORDS = ("the", "film", "was", "a", "story", "about", "people", "in", "town", "and", "their", "long", "summer")


def stacking_pace(
    specs: Sequence[RunSpec],
    batches: Iterable[tuple[int, int]],
    widths: Iterable[int],
    *,
    rounds: int,
    folder: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Time training steps of runs in one pass and one after the other, on texts of one length.

    As a sweep's plan does it (:func:`vxlab.experiments.stacking.time_stack`), whose every timing is itself the faster
    of two that alternate. All are visited in turn, round by round.

    Columns: ``candidate``, ``texts`` of each run in a step, ``tokens`` of each text, ``width`` (runs at once);
    ``alone`` and ``stacked``, seconds of a run's step by round; and ``reason``, empty but where these runs cannot
    train together.

    Args:
        specs: one for each method, in the settings of the runs.
        batches: texts and tokens.
        widths: runs at once, 2 or more.
        rounds: timings of each.
        folder: for a temporary file of made-up texts; None takes the system's.
        progress: show a bar.
    """
    asked = list(product(specs, batches, widths))
    seconds: dict[int, list[tuple[float, float]]] = {number: [] for number in range(len(asked))}
    reasons = dict.fromkeys(seconds, "")
    bar = progress_bar(rounds * len(asked), "timing steps", "stack", shown=progress)
    with tempfile.TemporaryDirectory(dir=folder) as scratch, bar:
        materials, task = Materials(), _write_texts(Path(scratch), [batch for _, batch, _ in asked])
        for _ in range(rounds):
            for number, (spec, (texts, tokens), width) in enumerate(asked):
                own = replace(spec, task=task, task_folder=None, batch_size=texts, max_length=tokens, **_WHOLE)
                found = _pace(own, width, materials)
                if isinstance(found, str):
                    reasons[number] = found
                else:
                    seconds[number].append(found)
                bar.update()
    rows = []
    for number, (spec, (texts, tokens), width) in enumerate(asked):
        alone, stacked = zip(*seconds[number], strict=True) if seconds[number] else ((), ())
        own_row: dict[str, Any] = {"candidate": method_label(spec.method), "texts": texts, "tokens": tokens}
        rows.append(own_row | {"width": width, "alone": alone, "stacked": stacked, "reason": reasons[number]})
    return pd.DataFrame(rows)


_WHOLE: dict[str, Any] = {
    "train_examples": None, "eval_examples": None, "text_columns": (), "label_column": None, "group_column": None,
    "label_kind": None,
}  # fmt: skip
"""Of a task of made-up texts, whatever the runs' own is."""


def _pace(spec: RunSpec, width: int, materials: Materials) -> tuple[float, float] | str:
    """Return the seconds of a run's step alone and stacked, or why these runs do not train together."""
    jobs = [materials.job(replace(spec, seed=seed)) for seed in range(width)]
    jobs = [with_own_masks(job) if masks_differ(job, materials) else job for job in jobs]
    if reason := reason_alone(jobs[0], materials):
        return reason
    try:
        pace = time_stack(jobs, materials)
    except UnstackableError as error:
        return str(error)
    return pace.alone, pace.stacked


def _write_texts(folder: Path, batches: Sequence[tuple[int, int]]) -> str:
    """Write a task of two classes whose every text is longer than any batch's."""
    draw, longest = random.Random(0), max(tokens for _, tokens in batches)
    sizes = {"train": max(4, *(texts for texts, _ in batches)), "validation": 4, "test": 4}
    number = 0
    for split, count in sizes.items():
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            for words in _texts(draw, count, longest):
                number += 1
                writer.writerow((f"{number} {words}", ("bad", "good")[number % 2]))
    return str(folder)


def _texts(draw: random.Random, count: int, words: int) -> Iterator[str]:
    for _ in range(count):
        yield " ".join(draw.choices(_WORDS, k=words))
