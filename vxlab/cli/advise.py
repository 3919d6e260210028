"""The command ``vxlab advise``: ranks by layer before anything is trained, or that one rank is as good."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vxlab.cli.shared import (
    add_import,
    add_store,
    need,
    print_columns,
    read_method,
    read_pairs,
    read_value,
    split_pair,
)
from vxlab.errors import VxlabError


def add_advise(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser's."""
    about = "advise on ranks by layer from a few batches of gradients, or say that one rank is as good; trains nothing"
    parser = commands.add_parser("advise", help=about, description=about)
    parser.add_argument("model", metavar="MODEL", help="a packaged model, a hub id, or a folder")
    parser.add_argument("task", metavar="TASK", help="a packaged task, a hub id, or a folder or file of rows")
    parser.add_argument("--method", nargs="+", default=["lora"], metavar=("NAME", "SETTING=VALUE"),
                        help="lora, vera or lora_xs, such as lora rank=8 (default: lora)")  # fmt: skip
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--budget", metavar="SIZE",
                      help="parameters, such as 30000, or bytes, such as 200kB (default: what the method's rank "
                           "takes)")  # fmt: skip
    size.add_argument("--share", type=float, metavar="SHARE",
                      help="of the energy, that the smallest uniform rank reaches: in place of a budget")  # fmt: skip
    parser.add_argument("--targets", nargs="+", default=["all-linear"], metavar="LAYERS",
                        help="target sets, roles or layer names that may be adapted (default: all-linear)")  # fmt: skip
    parser.add_argument("--batches", type=int, metavar="N", help="of gradients (default: as the run's steps allow)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the halves that judge (default: 0)")
    parser.add_argument("-s", type=split_pair, action="append", default=[], metavar="KEY VALUE", dest="pairs",
                        help="set a field of the run, such as epochs 3; may be repeated")  # fmt: skip
    parser.add_argument("--write", metavar="FILE.yaml", help="write the sweep that tests the advice, for vxlab sweep")
    add_store(parser)
    add_import(parser)
    parser.set_defaults(command=_advise)


def _advise(arguments: argparse.Namespace) -> int:
    """Print what the advice says, its ranks, and the sweep that tests it."""
    need("experiments", "transformers", "pandas", "sqlalchemy", "yaml")
    from vxlab.experiments.store import open_store
    from vxlab.experiments.sweeps import format_sweep
    from vxlab.studies.advisor import advise

    written = _new_file(arguments.write) if arguments.write else None
    method: Any = read_method(*arguments.method)  # advise refuses what has no ranks
    settings = _settings(arguments.pairs)
    targets = arguments.targets[0] if len(arguments.targets) == 1 else tuple(arguments.targets)
    with open_store(arguments.store) as store:
        advice = advise(
            arguments.model, arguments.task, method, _budget(arguments.budget), share=arguments.share,
            targets=targets, batches=arguments.batches, seed=arguments.seed, store=store, **settings,
        )  # fmt: skip
    print(f"{advice.sentence()}\n")
    print_columns([_in_words(row) for row in advice.layers.to_dict("records")])
    fair = advice.fair_sweep()
    sweep = format_sweep(fair)
    if not written:
        print(f"\n{sweep}", end="")
        return 0
    _write(written, sweep)
    print(f"\n{'Test' if len(fair.candidates) > 1 else 'Train'} it: vxlab sweep {arguments.write}")
    return 0


def _budget(text: str | None) -> int | str | None:
    value = None if text is None else read_value(text)
    return value if value is None or (isinstance(value, int) and not isinstance(value, bool)) else text


def _settings(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    from vxlab.checks import require_known
    from vxlab.experiments.sweeps import SHARED

    settings = {name: read_value(text) for name, text in read_pairs(pairs).items()}
    own = ("model", "task", "targets")  # arguments and options of the command
    require_known(settings, [name for name in (*SHARED, "draw") if name not in own], "-s: a run has no field")
    return settings


def _in_words(row: Mapping[Any, Any]) -> dict[str, str]:
    numbers = {name: f"{row[name]:,}" for name in ("rank", "allocated", "uniform", "parameters")}
    return {"layer": row["layer"], **numbers, "stability": f"{row['stability']:.0%}"}


def _new_file(name: str) -> Path:
    """Return where a new file may be put; refuse a name that is taken, before anything is asked."""
    path = Path(name).expanduser()
    if path.exists():
        raise VxlabError(f"--write {name}: it is there already; name another file")
    return path


def _write(path: Path, text: str) -> None:
    from vxlab.files import write_whole

    try:
        with write_whole(path) as new:
            new.write_text(text, encoding="utf-8")
    except OSError as error:
        raise VxlabError(f"--write {path}: cannot be written: {error.strerror or error}") from error
