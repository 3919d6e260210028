"""Evaluate runs and models on outside tasks; what the store has is not computed again."""

import contextlib
import datetime
import functools
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vxlab._version import __version__
from vxlab.checks import require_count, settle
from vxlab.experiments import Evaluation, RunRecord, hardware
from vxlab.experiments.evaluations.answer_bar import AnswerBar
from vxlab.experiments.evaluations.apart import harness_apart, require_harness
from vxlab.experiments.evaluations.ask import ask
from vxlab.experiments.evaluations.local_task import LocalTask
from vxlab.experiments.evaluations.outside_tasks import OutsideTask, load_outside_tasks
from vxlab.experiments.evaluations.results import Evaluations
from vxlab.experiments.evaluations.subjects import Subject, find_subjects
from vxlab.experiments.models import load_tokenizer, saved_generation
from vxlab.experiments.store import Store, Where, open_store
from vxlab.experiments.tasks.kinds import read_template, with_fixed_day
from vxlab.warn import warn_once

Tasks = str | Path | LocalTask | Sequence[str | Path | LocalTask]


def evaluate(
    runs: RunRecord | str | Sequence[RunRecord | str],
    tasks: Tasks,
    *,
    store: Where = None,
    base: bool = True,
    limit: int | None = None,
    num_fewshot: int | None = None,
    chat_template: str | None = None,
    task_folder: str | Path | None = None,
    batch_size: int = 16,
    device: str = "auto",
    precision: str | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> Evaluations:
    """Evaluate finished runs, with what they trained in memory and unmerged, on lm-eval's tasks; the base beside them.

    Each task's result is kept in the store when it is there, so that a second call computes nothing, and one after a
    kill goes on with the task that was in progress. The numbers are lm-eval's own for the same settings: those of
    ``lm-eval run --model hf --model_args pretrained=FOLDER,dtype=float32 --batch_size 16``, below float32 with
    ``mixed_precision_dtype=bfloat16`` behind it, for weights stay float32 as in training.

    Args:
        runs: a record that :func:`vxlab.run` returned, the name of a model to take as it is, or several of these. Their
            models are causal language models.
        tasks: names of lm-eval's tasks and groups (``arc_easy``, ``mmlu``, ``bbh``), YAML files of its form, and
            :class:`vxlab.LocalTask` for one of its tasks on files of your own; one or several.
        store: as :func:`vxlab.run` takes it.
        base: evaluate the untuned model of each run, too; once for all runs on it.
        limit: documents of each task, its first; of a group, of every task in it. None: all.
        num_fewshot: examples in the prompt, where a task does not insist on none; None: as many as the task says.
        chat_template: ``tokenizer`` writes prompts by the tokenizer's own chat template, each example a turn; or a
            template file's path. None writes them plainly, as lm-eval does.
        task_folder: of YAML files, whose names ``tasks`` may give.
        batch_size: requests at a time. It moves last digits, so it is part of the key.
        device: ``auto``, ``cuda``, ``mps`` or ``cpu``.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``; None takes that of each run, and ``auto`` for a
            model's name.
        fresh: evaluate again although the store has it, and replace what is there.
        progress: show a bar with the time left.

    Raises:
        VxlabError: lm-eval is not installed; a task is unknown, cannot be had from the hub, runs programs of the hub's
            or the model's, or fails; a run is of an encoder, did not finish, lost its adapter, or its base is another
            now; a chat template is asked for and the tokenizer has none; or the store fails.
    """
    asked = plan_evaluation(
        tasks, limit=limit, num_fewshot=num_fewshot, chat_template=chat_template, task_folder=task_folder,
        batch_size=batch_size,
    )  # fmt: skip
    flags = {"base": base, "fresh": fresh, "progress": progress}
    base, fresh, progress = (settle(name, value, bool) for name, value in flags.items())
    return evaluate_on(
        runs, asked, store=store, base=base, device=device, precision=precision, fresh=fresh, progress=progress
    )


@dataclass(frozen=True)
class Asked:
    """What is asked: tasks, loaded, and the settings that all share."""

    tasks: list[OutsideTask]
    limit: int | None
    chat_template: str | None
    batch_size: int


def plan_evaluation(
    tasks: Tasks,
    *,
    limit: int | None = None,
    num_fewshot: int | None = None,
    chat_template: str | None = None,
    task_folder: str | Path | None = None,
    batch_size: int = 16,
) -> Asked:
    """Load tasks and check the settings, before anything is trained or evaluated.

    Args:
        tasks, limit, num_fewshot, chat_template, task_folder, batch_size: as :func:`evaluate` takes them.

    Raises:
        VxlabError: as :func:`evaluate`, of the tasks.
    """
    require_harness()
    if limit is not None:
        require_count("limit", limit)
    if num_fewshot is not None and num_fewshot != 0:
        require_count("num_fewshot", num_fewshot)
    require_count("batch_size", batch_size)
    folder = settle("task_folder", task_folder, str | None)
    loaded = load_outside_tasks(tasks, limit=limit, num_fewshot=num_fewshot, task_folder=folder)
    return Asked(loaded, limit, settle("chat_template", chat_template, str | None), batch_size)


def evaluate_on(
    runs: RunRecord | str | Sequence[RunRecord | str],
    asked: Asked,
    *,
    store: Where = None,
    base: bool = True,
    device: str = "auto",
    precision: str | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> Evaluations:
    """Evaluate as :func:`evaluate` does, on tasks that are loaded.

    Args:
        runs, store, base, device, precision, fresh, progress: as :func:`evaluate` takes them.
        asked: from :func:`plan_evaluation`.
    """
    device = hardware.resolve_device(device)
    subjects = find_subjects(runs, base, precision, device)
    with open_store(store) as results:
        found = [one for each in subjects for one in _of_subject(each, asked, results, device, fresh, progress)]
    for note in (note for one in found for note in one.notes):
        warn_once(note)
    return Evaluations(tuple(found), tuple(each.record for each in subjects if each.record is not None))


@hardware.by_the_spec_alone()
def _of_subject(
    subject: Subject, asked: Asked, results: Store, device: str, fresh: bool, progress: bool
) -> list[Evaluation]:
    """Return the evaluations of one subject; its model is loaded where one of them is lacking."""
    tokenizer = _tokenizer(subject.model, asked.chat_template)
    in_memory = functools.cache(lambda: _in_memory(subject, tokenizer, device, asked.batch_size))
    found = []
    for task in asked.tasks:
        settings = _settings(subject, task, asked, tokenizer)
        key = subject.key(task.name, settings)
        kept = None if fresh else results.evaluations.get(key)
        if kept is None:
            results.require_writable()
            kept = _evaluate(key, subject, task, settings, in_memory(), device, progress)
            results.evaluations.keep(kept, replace=fresh)
        found.append(kept)
    return found


def _settings(subject: Subject, task: OutsideTask, asked: Asked, tokenizer: Any) -> dict[str, Any]:
    shots = set(task.shots.values())
    template = tokenizer.chat_template if asked.chat_template is not None else None
    writes = any(each.OUTPUT_TYPE == "generate_until" for each in task.loaded["tasks"].values())
    return {
        "content": task.content,
        "num_fewshot": shots.pop() if len(shots) == 1 else task.shots,
        "limit": asked.limit,
        "chat_template": template and hashlib.sha256(template.encode()).hexdigest(),
        "precision": subject.precision,
        "batch_size": asked.batch_size,
        "lm_eval": require_harness(),
        "vxlab": __version__,
        **({"generation": _hash_generation(subject.model)} if writes else {}),
    }


def _hash_generation(model: str) -> str:
    """Return the sha256 of how a model's files say to write, which its fingerprint leaves out."""
    told = saved_generation(model).to_diff_dict()
    told.pop("transformers_version", None)
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _tokenizer(model: str, chat_template: str | None) -> Any:
    tokenizer = load_tokenizer(model)
    if chat_template is not None:
        tokenizer.chat_template = with_fixed_day(read_template(chat_template, tokenizer))
    return tokenizer


def _in_memory(subject: Subject, tokenizer: Any, device: str, batch_size: int) -> Any:
    """Return the model as lm-eval asks it, writing as its own files say where a task does not."""
    model: nn.Module = subject.load(device)
    model.generation_config = saved_generation(subject.model)
    with harness_apart():
        from vxlab.experiments.evaluations.harness_model import HarnessModel

        return HarnessModel(model, tokenizer, subject.precision, batch_size)


def _evaluate(
    key: str, subject: Subject, task: OutsideTask, settings: dict[str, Any], model: Any, device: str, progress: bool
) -> Evaluation:
    started = time.perf_counter()
    with contextlib.closing(AnswerBar(f"{task.name}, {subject.name}", progress)) as model.bar, harness_apart():
        answers = ask(model, task, settings["limit"], settings["chat_template"] is not None)
    return Evaluation(
        key=key,
        run=subject.run,
        model=subject.model,
        fingerprint=subject.fingerprint,
        task=task.name,
        settings=settings,
        **vars(answers),
        seconds=time.perf_counter() - started,
        hardware=dict(hardware.describe_hardware(device)),
        versions={**hardware.library_versions(), "lm-eval": require_harness()},
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
    )
