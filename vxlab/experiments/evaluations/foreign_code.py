"""Which tasks would run programs that nobody here has read: the hub's, or those that a model writes."""

from collections.abc import Iterable, Iterator
from typing import Any

from vxlab.errors import VxlabError


def refuse_foreign_code(configs: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Refuse such tasks by their settings, before any of their code is imported.

    Args:
        configs: names of tasks, each with its settings.
    """
    for name, config in configs:
        if config.get("unsafe_code"):
            raise runs_programs(name)
        if (config.get("dataset_kwargs") or {}).get("trust_remote_code"):
            raise VxlabError(
                f"task {name!r} reads its data by a program from the hub (trust_remote_code), which is not run; "
                "give its documents as files: vxlab.LocalTask(...)"
            )
        if any(isinstance(metric, dict) and metric.get("hf_evaluate") for metric in config.get("metric_list") or []):
            raise VxlabError(
                f"task {name!r} is scored by a program from the hub (hf_evaluate), which is not run; choose another"
            )


def runs_programs(name: str) -> VxlabError:
    """Return the error of a task that runs what a model writes."""
    return VxlabError(f"task {name!r} runs the programs that a model writes, which is refused; choose another task")


def configs_of(entry: Any, index: dict[str, Any], seen: set[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the settings of a task, or of every task that a group or a tag leads to.

    Args:
        entry: of lm-eval's index.
        index: its entries by name.
        seen: names that were here already.
    """
    seen = set() if seen is None else seen
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
            yield from configs_of(index[name], index, seen)
        if isinstance(member, dict) and isinstance(member.get("task"), list):
            yield from _members(member["task"], index, seen)
