"""The command ``vxlab evaluate``: lm-eval's tasks on stored runs and on models as they are, the untuned base beside."""

import argparse
from collections.abc import Mapping
from typing import Any

from vxlab.cli.shared import add_import, add_store, need, print_columns, run_or_model
from vxlab.words import with_minus


def add_evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser's."""
    about = "evaluate stored runs, or models as they are, on lm-eval's tasks, with the untuned base beside"
    parser = commands.add_parser("evaluate", help=about, description=about)
    parser.add_argument("runs", nargs="+", metavar="RUN_OR_MODEL",
                        help="a run's key, or its first digits; or a model's name or folder")  # fmt: skip
    parser.add_argument("--tasks", nargs="+", required=True, metavar="TASK",
                        help="names of lm-eval's tasks and groups, or YAML files; with spaces or commas")  # fmt: skip
    parser.add_argument("--task-folder", metavar="FOLDER", help="of YAML files, whose names --tasks may give")
    parser.add_argument("--limit", type=int, metavar="N", help="documents of each task, its first (default: all)")
    parser.add_argument("--num-fewshot", type=int, metavar="N", help="examples in the prompt (default: the task's)")
    parser.add_argument("--chat-template", metavar="TEMPLATE",
                        help="tokenizer for its own, or a template's file (default: plain prompts)")  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="requests at a time (default: 16)")
    parser.add_argument("--precision", help="auto, float32, bfloat16 or float16 (default: the run's; of a model auto)")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default: auto)")
    parser.add_argument("--without-base", action="store_true", help="leave the untuned base out")
    parser.add_argument("--fresh", action="store_true", help="evaluate again what the store has")
    add_store(parser)
    add_import(parser)
    parser.set_defaults(command=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    need("experiments", "transformers", "pandas", "sqlalchemy")
    need("harness", "lm_eval")
    from vxlab.experiments.evaluations import evaluate
    from vxlab.experiments.store import Store

    settings = ("task_folder", "limit", "num_fewshot", "chat_template", "batch_size", "precision", "device", "fresh")
    with Store(arguments.store) as store:
        found = evaluate(
            [run_or_model(name, store) for name in arguments.runs],
            [task for given in arguments.tasks for task in given.split(",")],  # commas, as lm-eval's own command takes
            store=store,
            base=not arguments.without_base,
            **{name: getattr(arguments, name) for name in settings},
        )
    print_columns([_in_words(row) for row in found.table().to_dict("records")])
    for told in found.in_words():
        print(told)
    return 0


def _in_words(row: Mapping[Any, Any]) -> dict[str, str]:
    import pandas as pd

    told = {name: str(row[name]) for name in ("task", "metric", "filter", "candidate")}
    told |= {"seed": "" if pd.isna(row["seed"]) else str(row["seed"]), "score": f"{row['score']:.4f}"}
    if pd.isna(row["low"]):
        return told | {"against base": "", "95 %": "", "p": ""}
    between = with_minus(f"{row['low']:+.4f} to {row['high']:+.4f}")
    return told | {"against base": with_minus(f"{row['difference']:+.4f}"), "95 %": between, "p": f"{row['p']:.3g}"}
