"""The commands ``vxlab convert`` and ``vxlab inspect``: adapters for other programs, and what a folder holds."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.cli.shared import add_import, add_store, need, print_columns, run_or_model
from vxlab.words import in_bytes

if TYPE_CHECKING:
    from vxlab.experiments import RunRecord


def add_convert(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser's."""
    about = "write what was trained as another program loads it, with a model card"
    parser = commands.add_parser("convert", help=about, description=about)
    parser.add_argument("source", metavar="SOURCE",
                        help="a run's key, or its first digits; or the folder of a run or of an adapter")  # fmt: skip
    parser.add_argument("target", metavar="TARGET", help="a folder that is not there yet, or an earlier TARGET")
    parser.add_argument("--to", required=True, metavar="FORMAT", dest="format",
                        help="peft: PEFT's folder for the method; lora: a plain LoRA, without loss; merged: a whole "
                             "model; vxlab: an adapter of vxlab's")  # fmt: skip
    parser.add_argument("--base", metavar="MODEL", help="the base's name or folder, where SOURCE does not say it")
    parser.add_argument("--dtype", default="float32",
                        help="of merged weights: float32, bfloat16 or float16 (default: float32)")  # fmt: skip
    add_store(parser)
    add_import(parser)
    parser.set_defaults(command=_convert)


def _convert(arguments: argparse.Namespace) -> int:
    need("experiments", "transformers", "pandas", "sqlalchemy")
    from vxlab.experiments.exchange import export_adapter

    source = _source(arguments.source, arguments.store)
    settings = {name: getattr(arguments, name) for name in ("format", "base", "dtype")}
    folder = export_adapter(source, arguments.target, **settings)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    print(f"{arguments.target}, {in_bytes(sum(path.stat().st_size for path in files))}:")
    for path in files:
        print(f"  {path.relative_to(folder)}  {in_bytes(path.stat().st_size)}")
    return 0


def _source(name: str, store: str | None) -> "RunRecord | str":
    """Return a folder as it is, else the run with a key that begins so."""
    from vxlab.experiments.store import Store, is_there

    if Path(name).expanduser().is_dir() or not is_there(store):
        return name
    with Store(store) as opened:
        return run_or_model(name, opened)


def add_inspect(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser's."""
    about = "say what a folder holds, of its files alone: a run, an adapter of whatever origin, or a model"
    parser = commands.add_parser("inspect", help=about, description=about)
    parser.add_argument("folder", metavar="FOLDER", help="of a run, of an adapter or of a model")
    parser.add_argument("--base", metavar="MODEL",
                        help="whose config tells the layers' shapes, where an adapter of vxlab's does not")  # fmt: skip
    add_import(parser)
    parser.set_defaults(command=_inspect)


def _inspect(arguments: argparse.Namespace) -> int:
    need("experiments", "transformers", "pandas")
    from vxlab.experiments.exchange import inspect_folder

    found = inspect_folder(arguments.folder, arguments.base)
    print(f"{arguments.folder}: {found.kind}")
    for name, told in found.facts.items():
        print(f"{name}: {told}")
    print()
    print_columns([{str(name): _cell(value) for name, value in row.items()} for row in found.layers.to_dict("records")])
    return 0


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "–"
    return str(int(value)) if value.is_integer() else f"{value:.4g}"
