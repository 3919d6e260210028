"""Outside tasks by name, of lm-eval's own and of the user's, loaded and told apart by what they hold."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vxlab.checks import settle_list
from vxlab.errors import VxlabError
from vxlab.experiments.evaluations.apart import harness_apart, lacks_module, require_harness
from vxlab.experiments.evaluations.foreign_code import configs_of, refuse_foreign_code, runs_programs
from vxlab.experiments.evaluations.local_task import LocalTask
from vxlab.experiments.evaluations.task_content import hash_task
from vxlab.experiments.evaluations.task_index import find_task_entry, is_task_file
from vxlab.warn import warn_once
from vxlab.words import first_line

_OF_THE_HUB = re.compile(
    "Connection|Offline|HubHTTP|DatasetNotFound|LocalEntryNotFound|Max retries|resolve host|Dataset scripts"
)
_SEED = 1234
"""lm-eval's own, of the examples in a prompt"""


@dataclass(frozen=True)
class OutsideTask:
    """A task or a group of tasks that has scores of its own."""

    name: str
    loaded: dict[str, Any]
    """as lm-eval evaluates it: its tasks and groups by name"""
    content: str
    """sha256 of prompts, documents, metrics and code: all that decides what is asked, and what an answer scores"""
    shots: dict[str, int]
    """of each task, the examples in its prompt"""


def load_outside_tasks(
    tasks: Any, *, limit: int | None = None, num_fewshot: int | None = None, task_folder: str | Path | None = None
) -> list[OutsideTask]:
    """Load tasks with their documents; a name that stands for several without a score of their own gives each.

    Args:
        tasks, limit, num_fewshot, task_folder: as :func:`vxlab.evaluate` takes them.

    Raises:
        VxlabError: as :func:`vxlab.evaluate`.
    """
    require_harness()
    wanted = settle_list("tasks", tasks, (str, Path, LocalTask), "names, YAML files or vxlab.LocalTask(...)")
    if not wanted:
        raise VxlabError("tasks is empty; give names of lm-eval's tasks, such as 'arc_easy'")
    with harness_apart():
        found = [one for task in wanted for one in _load(task, task_folder)]
        names = [one.name if _is_group(one) else one.task_name for one in found]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise VxlabError(f"tasks: {twice[0]!r} is there more than once; name each once")
        prepared = [_prepare(name, one, limit, num_fewshot) for name, one in zip(names, found, strict=True)]
    _tell_without_examples(prepared, num_fewshot)
    return prepared


def _load(task: Any, folder: str | Path | None) -> Iterator[Any]:
    """Yield lm-eval's tasks, and groups with scores of their own, that a name, a file or a LocalTask stands for."""
    from lm_eval.tasks._yaml_loader import load_yaml

    manager, entry = find_task_entry(task, folder)
    config = dict(entry.cfg or {})
    replaced = task.settings(config) if isinstance(task, LocalTask) else {}
    refuse_foreign_code([(entry.name, config | replaced)] if replaced else configs_of(entry, manager.task_index))
    try:
        spec = load_yaml(entry.yaml_path) | replaced if replaced else str(task) if is_task_file(task) else entry.name
        built = manager._load_spec(spec)
    except ModuleNotFoundError as error:
        raise lacks_module(entry.name, error) from error
    except VxlabError:
        raise
    except Exception as error:  # the hub, the files and others' code raise what they like
        raise _not_loaded(entry.name, config | replaced, error) from error
    yield from _with_scores(built)


def _is_group(built: Any) -> bool:
    from lm_eval.api.group import Group

    return isinstance(built, Group)


def _with_scores(built: Any) -> Iterator[Any]:
    if isinstance(built, list) or (_is_group(built) and not built.has_aggregation):
        for one in built:
            yield from _with_scores(one)
    else:
        yield built


def _prepare(name: str, built: Any, limit: int | None, num_fewshot: int | None) -> OutsideTask:
    """Settle the examples in the prompts by lm-eval's own rule, and hash what is asked."""
    groups = [built, *built.get_all_groups()] if _is_group(built) else []
    tasks = {task.task_name: task for task in (built.get_all_tasks() if groups else [built])}
    for each, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False):
            raise runs_programs(each)
        if getattr(task, "MULTIMODAL", False):
            raise VxlabError(
                f"task {each!r} shows images or sounds, and this model reads text alone; choose another task"
            )
        usual = task.get_config("num_fewshot")
        if usual is None or (num_fewshot is not None and usual != 0):
            task.set_config(key="num_fewshot", value=num_fewshot or 0)
        task.set_fewshot_seed(seed=_SEED)
    shots = {each: int(task.get_config("num_fewshot")) for each, task in tasks.items()}
    digest = hashlib.sha256()
    for each in sorted(tasks):
        digest.update(f"{each}\0{hash_task(tasks[each], limit)}\0".encode())
    for group in groups:
        aggregated = [str(vars(metric)) for metric in group.aggregate_metric_list or []]
        digest.update(json.dumps([group.name, group.child_names, aggregated]).encode())
    loaded = {"tasks": tasks, "groups": {group.name: group for group in groups}}
    return OutsideTask(name, loaded, digest.hexdigest(), shots)


def _tell_without_examples(tasks: Sequence[OutsideTask], num_fewshot: int | None) -> None:
    """Say which tasks take no examples into their prompt though some are asked for: lm-eval's rule, which it logs."""
    plain = [name for task in tasks for name, shots in task.shots.items() if num_fewshot and shots != num_fewshot]
    if plain:
        more = f" (and {len(plain) - 1} more)" if len(plain) > 1 else ""
        warn_once(f"num_fewshot={num_fewshot}: {plain[0]}{more} insists on a prompt without examples, and is asked so")


def _not_loaded(name: str, config: dict[str, Any], error: Exception) -> VxlabError:
    said = f"{type(error).__name__}: {first_line(error)}"
    source = config.get("dataset_path")
    if _of_the_hub(error):
        return VxlabError(
            f"task {name!r}: its documents ({source}) are not here, and the Hugging Face hub does not give them "
            f"({said}); load them once with a network, or give files of yours: "
            f"vxlab.LocalTask({name!r}, {{'test': 'test.jsonl'}})"
        )
    return VxlabError(f"task {name!r} cannot be loaded: {said}")


def _of_the_hub(error: Exception) -> bool:
    return bool(_OF_THE_HUB.search(f"{type(error).__name__} {error}"))
