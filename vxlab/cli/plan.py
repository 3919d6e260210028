"""The command ``vxlab plan``: what training a model would hold in memory, and what fits, before it is loaded."""

import argparse
import re
from collections.abc import Mapping
from typing import Any

from vxlab.cli.shared import add_import, need, print_columns, read_method
from vxlab.words import in_bytes

_HELD = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "temporary", "peak", "stored")
_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_USUAL = (["lora"], ["vera"], ["lora_xs"], ["full"])


def add_plan(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser's."""
    about = "reckon from a model's config what training it would hold in memory, and what fits; no weights are read"
    parser = commands.add_parser("plan", help=about, description=about)
    parser.add_argument("model", metavar="MODEL", help="a packaged model, a hub id, or a folder with config.json")
    parser.add_argument("--labels", type=int, required=True, metavar="N",
                        help="number of classes; 1: a regression; 0: a model that writes or chooses")  # fmt: skip
    parser.add_argument("--method", nargs="+", action="append", metavar=("NAME", "SETTING=VALUE"), dest="methods",
                        help="such as lora rank=8; may be repeated (default: lora, vera, lora_xs, full)")  # fmt: skip
    parser.add_argument("--targets", nargs="+", default=["query-value"], metavar="LAYERS",
                        help="target sets, roles or layer names (default: query-value)")  # fmt: skip
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="texts, or images, at a time (default: 32)"
    )
    parser.add_argument("--tokens", type=int, default=128, metavar="N", help="of each text (default: 128)")
    parser.add_argument("--resolution", type=int, metavar="PIXELS",
                        help="of a side of each image (default: the model's own)")  # fmt: skip
    parser.add_argument("--precision", default="float32", help="float32, bfloat16 or float16 (default: float32)")
    parser.add_argument("--quantisation", metavar="SCHEME", help="of the base: nf4, int8 or torchao-int8")
    parser.add_argument("--gradient-checkpointing", action="store_true",
                        help="compute activations again in the backward pass")  # fmt: skip
    parser.add_argument("--device", default="auto", help="cuda or cpu (default: a GPU where one is there)")
    parser.add_argument("--memory", type=_size, metavar="SIZE",
                        help="that there is, such as 24GB (default: what this machine's GPU has free)")  # fmt: skip
    add_import(parser)
    parser.set_defaults(command=_plan)


def _plan(arguments: argparse.Namespace) -> int:
    """Print what each method needs; return 1 where one cannot be had."""
    need("experiments", "transformers", "pandas")
    from vxlab.experiments import describe_method
    from vxlab.experiments.costs import plan_memory

    methods = [read_method(*given) for given in arguments.methods or _USUAL]
    rows = plan_memory(
        arguments.model,
        arguments.labels,
        {describe_method(method): method for method in methods},
        arguments.targets[0] if len(arguments.targets) == 1 else arguments.targets,
        batch_size=arguments.batch_size,
        tokens=arguments.tokens,
        resolution=arguments.resolution,
        precision=arguments.precision,
        quantisation=arguments.quantisation,
        gradient_checkpointing=arguments.gradient_checkpointing,
        device=arguments.device,
        memory=arguments.memory,
    ).to_dict("records")
    print_columns([_in_words(row) for row in rows if not row["error"]])
    failed = [row for row in rows if row["error"]]
    for row in failed:
        print(f"{row['method']}: {row['error']}")
    return int(bool(failed))


def _in_words(row: Mapping[Any, Any]) -> dict[str, str]:
    import pandas as pd

    told = {"method": row["method"], "trained": f"{row['backbone'] + row['head']:,}"}
    told |= {name: in_bytes(row[name]) for name in _HELD}
    return told if pd.isna(row["fits"]) else {**told, "fits": "yes" if row["fits"] else "no"}


def _size(text: str) -> int:
    """Return the bytes that a text such as 24GB names; what argparse calls for such an option."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(\w*)", text)
    if found is None or found[2] not in _UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write bytes, or a number and {', '.join(_UNITS)[2:]}")
    return int(float(found[1]) * _UNITS[found[2]])
