"""Tasks by name: lm-eval's index of what it brings, and of a user's own YAML files."""

import copy
import functools
from pathlib import Path
from typing import Any

from vxlab.errors import VxlabError
from vxlab.experiments.evaluations.local_task import LocalTask
from vxlab.words import first_line, nearest

_MOST_NAMED = 8


def find_task_entry(task: str | Path | LocalTask, folder: str | Path | None) -> tuple[Any, Any]:
    """Return lm-eval's manager of the tasks there are, and the entry of one of them in its index.

    Args:
        task: a name, a file, or a template on files.
        folder: of YAML files, whose names come before the packaged.

    Raises:
        VxlabError: there is no such task, or it is no template.
    """
    if isinstance(task, Path) or is_task_file(task):
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


def is_task_file(task: Any) -> bool:
    """Say whether a task is given as a file."""
    return isinstance(task, Path) or (isinstance(task, str) and task.endswith((".yaml", ".yml")))


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
