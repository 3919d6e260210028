"""Put one outside task to one model, by lm-eval's own evaluator, and take its scores apart by item."""

import contextlib
import hashlib
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vxlab.errors import VxlabError
from vxlab.experiments.evaluations.apart import lacks_module
from vxlab.experiments.evaluations.outside_tasks import OutsideTask
from vxlab.words import first_line, number_of

_SEEDS = {"random": 0, "numpy": 1234, "torch": 1234}
"""lm-eval's own"""
_ROUNDING = 1e-9
_HASHED = 16
"""digits of a document's hash"""


@dataclass(frozen=True)
class TaskAnswers:
    """What came of a task, as an Evaluation keeps it."""

    scores: dict[str, float]
    higher_is_better: dict[str, bool | None]
    parts: dict[str, dict[str, float]]
    items: dict[str, NDArray[np.float64]]
    documents: tuple[str, ...]
    subtasks: tuple[str, ...]
    notes: tuple[str, ...]


def ask(model: Any, task: OutsideTask, limit: int | None, chat: bool) -> TaskAnswers:
    """Evaluate a model on a task.

    Args:
        model: of :class:`vxlab.experiments.evaluations.harness_model.HarnessModel`.
        task: loaded.
        limit: documents of each task, its first; None: all.
        chat: whether prompts are written by the tokenizer's chat template, each example a turn.

    Raises:
        VxlabError: lm-eval cannot evaluate the model on it.
    """
    from lm_eval.evaluator import evaluate

    random.seed(_SEEDS["random"])
    np.random.seed(_SEEDS["numpy"])
    torch.manual_seed(_SEEDS["torch"])
    for each in task.loaded["tasks"].values():
        each.set_fewshot_seed(seed=_SEEDS["torch"])
    model.cut = 0
    with _explain(task.name):
        found = evaluate(
            lm=model,
            task_dict=task.loaded,
            limit=limit,
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
        )
    return _taken_apart(task, found, _note_cuts(task, model))


def _note_cuts(task: OutsideTask, model: Any) -> tuple[str, ...]:
    if not model.cut:
        return ()
    reads = f"the {model.max_length:,} tokens that the model reads"
    return (f"{task.name}: {number_of(model.cut, 'prompt')} did not fit into {reads}, and lost the beginning",)


def _taken_apart(task: OutsideTask, found: Mapping[str, Any], notes: tuple[str, ...]) -> TaskAnswers:
    scores = {name: _numbers(results) for name, results in found["results"].items()}
    own = scores.pop(task.name)
    keys = [(name, sample) for name, samples in found["samples"].items() for sample in samples]
    places = {(name, sample["doc_id"]): None for name, sample in keys}
    place = {key: number for number, key in enumerate(places)}
    values: dict[str, NDArray[np.float64]] = {}
    documents = [""] * len(place)
    for name, sample in keys:
        number = place[name, sample["doc_id"]]
        documents[number] = _identity(name, sample)
        for metric in sample["metrics"]:
            if isinstance(value := sample[metric], bool | int | float | np.number):
                column = values.setdefault(f"{metric},{sample['filter']}", np.full(len(place), math.nan))
                column[number] = float(value)
    better = found["higher_is_better"].get(task.name, {})
    return TaskAnswers(
        scores=own,
        higher_is_better={metric: better.get(metric.partition(",")[0]) for metric in own},
        parts=scores,
        items={metric: values[metric] for metric in own if metric in values and _is_mean(values[metric], own[metric])},
        documents=tuple(documents),
        subtasks=tuple(name for name, _ in place),
        notes=notes,
    )


def _numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of lm-eval's results, which hold names, counts and errors beside them."""
    return {
        metric: float(value)
        for metric, value in results.items()
        if "," in metric and "_stderr," not in metric and isinstance(value, int | float | np.number)
    }


def _identity(name: str, sample: Mapping[str, Any]) -> str:
    text = f"{name}\0{sample['doc_hash']}\0{sample['target_hash']}"
    return hashlib.sha256(text.encode()).hexdigest()[:_HASHED]


def _is_mean(values: NDArray[np.float64], score: float) -> bool:
    known = values[~np.isnan(values)]
    return len(known) > 0 and abs(float(known.mean()) - score) <= _ROUNDING * max(1.0, abs(score))


@contextlib.contextmanager
def _explain(name: str) -> Iterator[None]:
    """Say which task it was that lm-eval, or the code of a task, failed on."""
    try:
        yield
    except VxlabError:
        raise
    except ModuleNotFoundError as error:
        raise lacks_module(name, error) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise VxlabError(
            f"task {name!r}: the memory does not hold a batch of it; choose a smaller batch_size"
        ) from error
    except Exception as error:
        if "max tokens to generate" in str(error):
            raise VxlabError(
                f"task {name!r} lets the model write more tokens than it has positions for ({first_line(error)}); "
                "choose another task, or a model with a longer context"
            ) from error
        raise VxlabError(f"task {name!r} failed in lm-eval: {type(error).__name__}: {first_line(error)}") from error
