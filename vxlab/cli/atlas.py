"""The command ``vxlab atlas``: list the atlas's files, add a sweep of your own, and carry runs between machines."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from vxlab.cli.shared import add_import, add_store, need, print_columns, read_with_advice
from vxlab.errors import VxlabError
from vxlab.words import in_bytes, number_of

if TYPE_CHECKING:
    from vxlab.experiments.atlas import Counted
    from vxlab.experiments.sweeps import Swept


def add_atlas(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser's."""
    about = "list the atlas's files, add a fair sweep of your own, and carry runs between machines"
    parser = commands.add_parser("atlas", help=about, description=about)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    about = "list the files of the atlas and what is in them"
    listing = actions.add_parser("list", help=about, description=about)
    listing.set_defaults(command=_list)
    about = "pack the runs of a fair sweep, all trained, into your own file of the atlas"
    adding = actions.add_parser("add", help=about, description=about)
    adding.add_argument("sweep", metavar="SWEEP.yaml", help="as vxlab sweep takes it, protocol: fair")
    adding.set_defaults(command=_add)
    about = "pack runs that a store has so far, so that a sweep can go on on another machine"
    exporting = actions.add_parser("export", help=about, description=about)
    exporting.add_argument("file", metavar="FILE.parquet", help="to be written")
    exporting.add_argument("sweeps", nargs="*", metavar="SWEEP.yaml", help="of these alone; none: of all that ended")
    exporting.set_defaults(command=_export)
    for each in (adding, exporting):
        each.add_argument(
            "--only", nargs="+", metavar="NAME", default=[], help="of several sweeps those of these names"
        )
        each.add_argument("--stack", type=int, metavar="N", help="as vxlab sweep was given it")
        add_import(each)
    about = "take an exported file's runs into a store, which then does not train them again"
    importing = actions.add_parser("import", help=about, description=about)
    importing.add_argument("file", metavar="FILE.parquet", help="from vxlab atlas export")
    importing.set_defaults(command=_import)
    for each in (adding, exporting, importing):
        add_store(each)


def _list(arguments: argparse.Namespace) -> int:
    need("experiments", "sqlalchemy", "pandas", "pyarrow")
    from vxlab.experiments.atlas import atlas_files, unpack

    rows = []
    for file in atlas_files():
        with unpack(file) as store:
            table = store.table()
        names = {
            column: ", ".join(dict.fromkeys(Path(name).name for name in table[column])) for column in ("model", "task")
        }
        told = {"runs": f"{len(table):,}", "size": in_bytes(file.stat().st_size), **names, "file": str(file)}
        rows.append(told)
    print_columns(rows)
    if not rows:
        print("There is no file of the atlas yet; add a sweep: vxlab atlas add SWEEP.yaml")
    return 0


def _add(arguments: argparse.Namespace) -> int:
    _require(arguments.store)
    from vxlab.experiments.atlas import add_to_atlas
    from vxlab.experiments.store import Store

    swept = _find(arguments.sweep, arguments)
    with Store(arguments.store) as store:
        if swept.lacking:
            raise VxlabError(
                f"{store.name} lacks {swept.lacking} of the {swept.lacking + len(swept.keys)} runs of "
                f"{arguments.sweep}; train them first: {_training(arguments)}"
            )
        _tell(add_to_atlas(store, swept.keys))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    _require(arguments.store)
    from vxlab.experiments.atlas import pack
    from vxlab.experiments.store import Store

    found = [_find(sweep, arguments) for sweep in arguments.sweeps]
    keys = [key for each in found for key in each.keys] if found else None
    with Store(arguments.store) as store:
        file = pack(store, arguments.file, keys)
    lacking = sum(each.lacking for each in found)
    told = f" of {number_of(len(set(keys)), 'run')}, with {lacking} still to be trained" if keys else ""
    print(f"{file}: {in_bytes(file.stat().st_size)}{told}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    need("experiments", "sqlalchemy", "pandas", "pyarrow")
    from vxlab.experiments.atlas import import_atlas
    from vxlab.experiments.store import Store

    with Store(arguments.store) as store:
        _tell(import_atlas(arguments.file, store))
    return 0


def _require(where: str | None) -> None:
    need("experiments", "sqlalchemy", "pandas", "pyarrow", "transformers", "yaml")
    from vxlab.experiments.store import is_there, store_place

    if not is_there(where):
        raise VxlabError(f"{store_place(where)} is not there; name a store of runs with --store")


def _find(file: str, arguments: argparse.Namespace) -> "Swept":
    """Return what the store has of the sweeps of a file, all together."""
    from vxlab.experiments.sweeps import FairSweep, Swept, find_swept

    found = []
    for name, fair in read_with_advice(file, arguments.store, arguments.only).items():
        if not isinstance(fair, FairSweep):
            raise VxlabError(
                f"{name} of {file} is a grid, in which rates are not chosen; the atlas takes protocol: fair, where "
                "every candidate has the same budget"
            )
        found.append(find_swept(fair, store=arguments.store, stack=arguments.stack))
    return Swept([key for each in found for key in each.keys], sum(each.lacking for each in found))


def _training(arguments: argparse.Namespace) -> str:
    """Return the command that trains what is lacking."""
    options = {"--store": arguments.store, "--stack": arguments.stack}
    given = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    given += [text for module in arguments.imports or () for text in ("--import", module)]
    given += ["--only", *arguments.only] if arguments.only else []
    return shlex.join(["vxlab", "sweep", arguments.sweep, *given])


def _tell(counted: "Counted") -> None:
    there = f", {counted.known} there before with the same results" if counted.known else ""
    print(f"{counted.place}: {number_of(counted.new, 'run')} new{there}")
