"""Outside tasks by name, of lm-eval's own and of the user's, loaded and told apart by what they hold."""

import copy
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vxlab.checks import settle_list
from vxlab.errors import VxlabError
from vxlab.experiments.evaluations.apart import harness_apart, lacks_module, require_harness
from vxlab.experiments.evaluations.local_task import LocalTask
from vxlab.experiments.evaluations.task_content import hash_task
from vxlab.words import first_line, nearest

_MOST_NAMED = 8
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
        return [_prepare(name, one, limit, num_fewshot) for name, one in zip(names, found, strict=True)]


def _load(task: Any, folder: str | Path | None) -> Iterator[Any]:
    """Yield lm-eval's tasks, and groups with scores of their own, that a name, a file or a LocalTask stands for."""
    from lm_eval.tasks._yaml_loader import load_yaml

    manager, entry = _find(task, folder)
    config = dict(entry.cfg or {})
    replaced = task.settings(config) if isinstance(task, LocalTask) else {}
    _refuse_foreign_code([(entry.name, config | replaced)] if replaced else _configs(entry, manager.task_index, set()))
    try:
        spec = load_yaml(entry.yaml_path) | replaced if replaced else str(task) if _is_file(task) else entry.name
        built = manager._load_spec(spec)
    except ModuleNotFoundError as error:
        raise lacks_module(entry.name, error) from error
    except VxlabError:
        raise
    except Exception as error:  # the hub, the files and others' code raise what they like
        raise _not_loaded(entry.name, config | replaced, error) from error
    yield from _with_scores(built)


def _find(task: str | Path | LocalTask, folder: str | Path | None) -> tuple[Any, Any]:
    """Return a task's manager, and its entry in lm-eval's index."""
    if isinstance(task, Path) or _is_file(task):
        entry = _entry_of_file(Path(str(task)).expanduser())
        return _manager_with(folder, alone=entry.cfg), entry
    name = task if isinstance(task, str) else task.template
    manager = _manager_with(folder, name=name)
    index = manager.task_index
    if name not in index:
        raise VxlabError(f"task={name!r} is none of lm-eval's{_near(name, index)}")
    entry = index[name]
    one = entry.yaml_path is not None and isinstance((entry.cfg or {}).get("task"), str)
    if isinstance(task, LocalTask) and not one:
        raise VxlabError(f"template={name!r} stands for several tasks; give one of them")
    return manager, entry


def _entry_of_file(path: Path) -> Any:
    from lm_eval.tasks._index import TaskIndex
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        entry = TaskIndex.entry_from_path(path)
    except Exception as error:  # of YAML, of an include, of what lacks a name
        raise VxlabError(f"task {str(path)!r} cannot be read: {first_line(error)}") from error
    if entry is None:
        raise VxlabError(f"task {str(path)!r} is no file that names a task or a group; give a YAML of lm-eval's form")
    entry.cfg = load_yaml(path, resolve_func=False)
    return entry


def _manager_with(folder: str | Path | None, name: str = "", alone: dict[str, Any] | None = None) -> Any:
    """Return lm-eval's manager of the tasks there are; the packaged ones are left out where nothing needs them.

    Args:
        folder: of YAML files, which are read as they are now; their names come before the packaged.
        name: that is looked for.
        alone: settings of a file, which may be all that is needed.
    """
    from lm_eval.tasks import TaskManager

    place = None if folder is None else Path(folder).expanduser()
    if place is not None and not place.is_dir():
        raise VxlabError(f"task_folder={str(folder)!r} is no folder; name one of YAML files of lm-eval's form")
    own = TaskManager(include_path=place, include_defaults=False)
    found = alone or getattr(own.task_index.get(name), "cfg", None) or {}
    if isinstance(found.get("task"), str):
        return own
    manager = copy.copy(_packaged())
    manager._index = {**_packaged().task_index, **own.task_index}
    return manager


@functools.cache
def _packaged() -> Any:
    """Read what lm-eval brings, once in a process: seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _near(name: str, index: dict[str, Any]) -> str:
    """Return the names most like one: of 14,000 not all are listed."""
    from difflib import get_close_matches

    near = get_close_matches(name, index, n=_MOST_NAMED, cutoff=0.6)
    return nearest(name, near, "near it") if near else "; `lm-eval ls tasks` lists them all"


def _refuse_foreign_code(configs: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Refuse what would run programs from the hub, or such as the model writes, before any of it is imported."""
    for name, config in configs:
        if config.get("unsafe_code"):
            raise _runs_programs(name)
        if (config.get("dataset_kwargs") or {}).get("trust_remote_code"):
            raise VxlabError(
                f"task {name!r} reads its data by a program from the hub (trust_remote_code), which is not run; "
                "give its documents as files: vxlab.LocalTask(...)"
            )
        if any(isinstance(metric, dict) and metric.get("hf_evaluate") for metric in config.get("metric_list") or []):
            raise VxlabError(
                f"task {name!r} is scored by a program from the hub (hf_evaluate), which is not run; choose another"
            )


def _configs(entry: Any, index: dict[str, Any], seen: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the settings of a task, or of every task that a group or a tag leads to."""
    if entry.name in seen:
        return
    seen.add(entry.name)
    config = entry.cfg or {}
    yield entry.name, config
    members = config.get("task", sorted(entry.tags))
    if isinstance(members, list):
        yield from _members(members, index, seen)


def _members(members: Iterable[Any], index: dict[str, Any], seen: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for member in members:
        name = member if isinstance(member, str) else member.get("group") or member.get("task")
        if isinstance(member, dict):
            yield str(name), member
        if isinstance(name, str) and name in index:
            yield from _configs(index[name], index, seen)
        if isinstance(member, dict) and isinstance(member.get("task"), list):
            yield from _members(member["task"], index, seen)


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
            raise _runs_programs(each)
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


def _is_file(task: Any) -> bool:
    return isinstance(task, Path) or (isinstance(task, str) and task.endswith((".yaml", ".yml")))


def _runs_programs(name: str) -> VxlabError:
    return VxlabError(f"task {name!r} runs the programs that a model writes, which is refused; choose another task")


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
