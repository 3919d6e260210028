"""The content of an outside task: its prompts, documents, metrics and code as one hash, wherever its files lie."""

import dataclasses
import functools
import hashlib
import inspect
import itertools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_WHERE = ("dataset_path", "dataset_name", "dataset_kwargs", "custom_dataset", "metadata", "tag", "task_alias")
"""Settings that say where documents come from, or name things: what decides the numbers are the documents."""


def hash_task(task: Any, limit: int | None) -> str:
    """Return the sha256 of all that a task asks, and of how it scores the answers.

    Args:
        task: one of lm-eval's, with its documents.
        limit: how many documents are asked; None: all.
    """
    digest = hashlib.sha256()
    config = {name: value for name, value in task.config.to_dict(keep_callable=True).items() if name not in _WHERE}
    digest.update(json.dumps([_plain(type(task)), task.VERSION, _plain(config)], sort_keys=True).encode())
    for document in itertools.islice(iter(task.eval_docs), limit):
        digest.update(_text(document))
    if task.get_config("num_fewshot"):
        digest.update(b"examples")
        for document in task.fewshot_docs() or ():
            digest.update(_text(document))
    return digest.hexdigest()


def _text(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, default=_plain).encode() + b"\0"


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: code by what its files say, and anything else by how it is written."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in (sorted(value, key=repr) if isinstance(value, set) else value)]
    if isinstance(value, functools.partial):
        return ["partial", _plain(value.func), _plain(value.args), _plain(value.keywords)]
    if callable(value):
        return ["code", getattr(value, "__qualname__", type(value).__qualname__), _code_beside(value)]
    if dataclasses.is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _code_beside(code: Callable[..., Any]) -> str:
    """Return the sha256 of the modules in the folder of a function: what it calls lies there, too."""
    named = code if inspect.isroutine(code) or inspect.isclass(code) else type(code)
    try:
        file = inspect.getsourcefile(inspect.unwrap(named))
    except TypeError:  # of C
        return ""
    digest = hashlib.sha256()
    for path in sorted(Path(file).parent.glob("*.py")) if file else ():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
