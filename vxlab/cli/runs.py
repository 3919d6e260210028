"""The command ``vxlab runs``: list a store's runs, show one, verify them, and delete what is not wanted any more."""

import argparse
import contextlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.cli.shared import add_store, need, print_columns
from vxlab.errors import VxlabError
from vxlab.words import in_bytes, number_of

if TYPE_CHECKING:
    from vxlab.experiments import RunRecord
    from vxlab.experiments.store import Store

_FILTERS = {
    "task": "its name, or the last part of its folder",
    "model": "its name, or the last part of its folder",
    "method": "such as lora or LoRA-XS",
    "status": "finished, diverged, failed, stopped or running; imported for adapters that were trained elsewhere",
}
_KINDS = {
    "failed": "runs that failed, with their folders",
    "stopped": "runs that were stopped or killed, with the checkpoints from which they would go on",
    "orphans": "folders of no run in this store, in which none ended",
    "unlisted": "ended runs that this store has no row of; another that shares its folder may have them",
    "checkpoints": "checkpoints of runs that have ended",
}


def add_runs(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser's."""
    about = "list a store's runs, show one, verify them, and delete what is not wanted any more"
    parser = commands.add_parser("runs", help=about, description=about)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = _action(actions, "list", _list, "list runs, with the size of their folders")
    for name, meaning in _FILTERS.items():
        listing.add_argument(f"--{name}", metavar=name.upper(), help=f"of these runs alone: {meaning}")
    showing = _action(actions, "show", _show, "show all that is known of a run")
    showing.add_argument("key", metavar="KEY", help="the run's key, or its first digits")
    _action(actions, "verify", _verify, "say what is lost or damaged; the exit code is then 1")
    removing = _action(actions, "rm", _rm, "delete runs with their folders; without --yes, say what would go")
    removing.add_argument("keys", nargs="+", metavar="KEY", help="a run's key, or its first digits")
    pruning = _action(actions, "prune", _prune, "delete what nobody needs; without --yes, say what would go")
    for name, meaning in _KINDS.items():
        pruning.add_argument(f"--{name}", action="store_true", help=meaning)
    for each in (removing, pruning):
        each.add_argument("--yes", action="store_true", help="delete it")


def _action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: "Callable[[argparse.Namespace, Store], int]",
    about: str,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=about, description=about)
    add_store(parser)
    parser.set_defaults(command=lambda arguments: _with_store(command, arguments))
    return parser


def _with_store(command: "Callable[[argparse.Namespace, Store], int]", arguments: argparse.Namespace) -> int:
    need("experiments", "sqlalchemy", "pandas", "filelock")
    from vxlab.experiments.store import Store, is_there, store_place

    if not is_there(arguments.store):
        raise VxlabError(f"{store_place(arguments.store)} is not there; name a store of runs with --store")
    with Store(arguments.store) as store:
        with contextlib.suppress(VxlabError):  # a store that cannot be written is shown as it is
            store.release_dead()
        return command(arguments, store)


def _list(arguments: argparse.Namespace, store: "Store") -> int:
    from vxlab.experiments import IMPORTED
    from vxlab.experiments.provenance import base_in_words, describe_mixture, name_weights_and_data
    from vxlab.experiments.store import ENDED, runs_table

    if arguments.status == IMPORTED:
        _list_imports(store)
        return 0
    table = runs_table(store, **{name: getattr(arguments, name) for name in _FILTERS})
    apart = name_weights_and_data(table)
    rows = [
        {
            "key": row["key"][:12], "status": row["status"], "task": Path(row["task"]).name,
            "model": ", ".join(filter(None, [base_in_words(row), more])),
            "method": row["label"], "layers": row["targets"],
            "rate": _number(row["learning_rate"], "g", "–"), "seed": _seed(row),
            "test": _number(row["test"], ".3f"),
            "size": in_bytes(row["size"]) if row["size"] or row["status"] not in ENDED else "lost",
        }
        for row, more in zip(table.to_dict("records"), apart, strict=True)
    ]  # fmt: skip
    print_columns(rows)
    print(f"{number_of(len(rows), 'run')} in {store.name}; {in_bytes(int(table['size'].sum()))} in {store.folder}")
    for note in describe_mixture(_readable(store, table["key"])):
        print(note)
    if not any(getattr(arguments, name) for name in _FILTERS) and store.imports.records():
        print()
        _list_imports(store)
    return 0


def _seed(row: "dict[Any, Any]") -> str:
    """Return a run's seed, and its draw where it learned from shots."""
    import pandas as pd

    return str(row["seed"]) + ("" if pd.isna(row["shots"]) else f", draw {row['draw']} of {row['shots']} shots")


def _list_imports(store: "Store") -> None:
    table = store.imports.table()
    print_columns([
        {
            "key": row["key"][:12], "status": row["status"], "adapter": row["adapter"],
            "model": Path(row["model"]).name, "method": row["label"], "layers": row["targets"],
            "size": in_bytes(row["bytes_stored"]),
        }
        for row in table.to_dict("records")
    ])  # fmt: skip
    print(f"{number_of(len(table), 'imported adapter')} in {store.imports.folder}")


def _number(value: float, form: str, missing: str = "") -> str:
    return missing if math.isnan(value) else f"{value:{form}}"  # a probe has no rate


def _readable(store: "Store", keys: Iterable[str]) -> "Iterator[RunRecord]":
    """Yield the records that there are, and that this version reads: a list shows the other runs, too."""
    for key in keys:
        with contextlib.suppress(VxlabError):
            if (record := store.record(key)) is not None:
                yield record


def _show(arguments: argparse.Namespace, store: "Store") -> int:
    import pandas as pd

    from vxlab.experiments.store import full_key, run_folder

    key = full_key(store, arguments.key)
    if (adapter := store.imports.record(key)) is not None:
        _show_import(adapter)
        return 0
    (row,) = store.table([key]).to_dict("records")
    record, state = store.record(key), store.status([key])[key]
    told: dict[str, Any] = {str(name): value for name, value in row.items() if not pd.isna(value)}
    if record is not None:
        scores = {f"{row['split']} {row['metric']}, epoch {row['epoch']:g}": row["value"] for row in record.metrics}
        told |= {"identity": record.identity, "spec": record.spec, "scores": scores}
        told |= {"probe": record.probe} if record.probe else {}
        told |= {"data read": record.task, "hardware": record.hardware, "libraries": record.versions}
        if evaluations := store.evaluations.find(run=key):
            told |= {"evaluations": {one.task: one.scores for one in evaluations}}
    for name, value in told.items():
        print(f"{name}: {value if isinstance(value, str) else json.dumps(value, default=str)}")
    if state.traceback:
        print(state.traceback)
    folder = store.folder_of(key)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    print(f"files, {in_bytes(run_folder.size(folder))}:" if files else "files: none, the folder is gone")
    for path in files:
        print(f"  {path.relative_to(folder)}  {in_bytes(run_folder.size(path))}")
    return 0


def _show_import(record: "RunRecord") -> None:
    known = {name: value for name, value in record.spec.items() if value is not None}
    told = {"key": record.key, "status": record.status, **known, "identity": record.identity}
    told |= {"layers": record.layers, "parameters": record.parameters, "imported_at": record.finished_at}
    for name, value in told.items():
        print(f"{name}: {value if isinstance(value, str) else json.dumps(value, default=str)}")
    print(f"folder: {record.folder}, {in_bytes(record.bytes_stored)}")


def _verify(arguments: argparse.Namespace, store: "Store") -> int:
    from vxlab.experiments.store import ENDED, problems

    found = list(problems(store))
    for name, said in found:
        print(f"{name[:16]}  {said}")
    ended = int(store.table()["status"].isin(ENDED).sum())
    wrong = len({name for name, _ in found})
    print(
        f"{store.name}: {number_of(ended, 'run')} that ended; "
        + (f"not as it was: {wrong}" if wrong else "all are whole")
    )
    return int(bool(found))


def _rm(arguments: argparse.Namespace, store: "Store") -> int:
    from vxlab.experiments.store import full_key, run_folder

    found = list(dict.fromkeys(full_key(store, start) for start in arguments.keys))
    adapters = [record for key in found if (record := store.imports.record(key)) is not None]
    keys = [key for key in found if key not in {record.key for record in adapters}]
    for key in keys:
        store.require_idle(key)
        run_folder.require_deletable(store.folder_of(key))
    sizes = {key: run_folder.size(store.folder_of(key)) for key in keys}
    for row in store.table(keys).to_dict("records"):
        print(f"{row['key'][:12]}  {row['status']}  {row['label']}, seed {_seed(row)}  {in_bytes(sizes[row['key']])}")
    for record in adapters:
        print(f"{record.key[:12]}  {record.status}  {record.spec['adapter']}  {in_bytes(record.bytes_stored)}")
    if arguments.yes:
        for key in keys:
            store.remove(key)
        for record in adapters:
            store.imports.remove(record.key)
    _end(arguments.yes, len(found), sum(sizes.values()) + sum(record.bytes_stored for record in adapters))
    return 0


def _prune(arguments: argparse.Namespace, store: "Store") -> int:
    from vxlab.experiments.store import KINDS, delete, leftovers

    chosen = [kind for kind in KINDS if getattr(arguments, kind)]
    if arguments.yes and not chosen:
        known = ", ".join(f"--{kind}" for kind in KINDS)
        raise VxlabError(f"--yes deletes what is named with it: add some of {known}")
    found = leftovers(store, chosen or KINDS)
    for each in found:
        print(f"{each.kind:<12}{each.name}  {in_bytes(each.size)}" + (f"  stays: {each.kept}" if each.kept else ""))
    free = [each for each in found if not each.kept]
    if arguments.yes:
        for each in free:
            delete(store, each)
    _end(arguments.yes, len(free), sum(each.size for each in free))
    return 0


def _end(yes: bool, count: int, size: int) -> None:
    if not count:
        print("There is nothing to delete.")
    elif yes:
        print(f"Deleted: {count}, {in_bytes(size)}.")
    else:
        print(f"{count} would go, {in_bytes(size)}. Nothing was deleted. Add --yes to delete them.")
