"""The command ``vxlab sweep``: train a sweep from a YAML file, or go on with it, and tell what it showed."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.cli.shared import add_import, add_store, need, read_pairs, read_value, read_with_advice, split_pair

if TYPE_CHECKING:
    import pandas as pd

    from vxlab.experiments import RunSpec
    from vxlab.experiments.sweeps import FairSweep

_SHOWN = ["candidate", "backbone", "mean", "seeds", "learning_rate", "edge"]


def add_sweep(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser's."""
    about = "train a sweep from a YAML file, or go on with it, and tell what it showed"
    parser = commands.add_parser("sweep", help=about, description=about)
    parser.add_argument("file", metavar="FILE.yaml", help="candidates, settings and budget, of one sweep or of several")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="of several sweeps those of these names")
    add_store(parser)
    parser.add_argument("--engine", default="inline", help="inline, processes or ray (default: %(default)s)")
    parser.add_argument("--workers", type=int, metavar="N", help="runs at a time, where the engine runs several")
    parser.add_argument("--stack", type=int, metavar="N",
                        help="runs of one family that train together in one pass, at most: 1 trains each alone "
                             "(default: as timed steps say)")  # fmt: skip
    parser.add_argument("-o", type=split_pair, action="append", default=[], metavar="KEY VALUE", dest="pairs",
                        help="set an option of the engine, such as gpus_per_run 0.5; may be repeated")  # fmt: skip
    add_import(parser)
    parser.add_argument("--export", metavar="PATH", help="write the table of runs as .csv or .parquet")
    parser.add_argument("--margin", type=float, default=0.02, metavar="LOSS",
                        help="the loss of score that counts as none: 0.02 is 2 points, of a log-likelihood 0.02 nats "
                             "(default: %(default)s)")  # fmt: skip
    whether = parser.add_mutually_exclusive_group()
    whether.add_argument("--plan", action="store_true", help="say how many runs, how long and how many bytes, and stop")
    whether.add_argument("--fresh", action="store_true", help="train again what the store has, and replace it")
    whether.add_argument("--no-train", action="store_false", dest="train",
                         help="take what the store has; stop where it lacks a run")  # fmt: skip
    parser.set_defaults(command=_sweep)


def _sweep(arguments: argparse.Namespace) -> int:
    """Carry the file's sweeps out; return 1 where a run failed."""
    need("experiments", "sqlalchemy", "transformers", "yaml")
    import pandas as pd

    from vxlab.experiments.candidates import checked_margin
    from vxlab.experiments.engines import make_engine
    from vxlab.experiments.store import open_store, require_export, write
    from vxlab.experiments.sweeps import announce

    wanted = read_with_advice(arguments.file, arguments.store, arguments.only)
    margin = checked_margin(arguments.margin)
    export = arguments.export and require_export(Path(arguments.export).expanduser().absolute())
    chosen = {name: read_value(text) for name, text in read_pairs(arguments.pairs).items()}
    engine = make_engine(arguments.engine, arguments.workers, **chosen)
    runs = []
    with open_store(arguments.store) as store:
        options: dict[str, Any] = {"store": store, "engine": engine, "stack": arguments.stack}
        for name, each in wanted.items():
            if len(wanted) > 1:
                print(f"\n{name}")
            if arguments.plan:
                print(announce(each, **options))
            else:
                runs.append(_train(each, margin, **options, fresh=arguments.fresh, train=arguments.train))
        if not runs:
            return 0
        every = pd.concat(runs, ignore_index=True)
        if export:
            print(write(every, export))
    return int((every["status"] == "failed").any())


def _train(wanted: "FairSweep | list[RunSpec]", margin: float, **options: Any) -> "pd.DataFrame":
    """Carry one sweep out, tell what it showed, and return its runs."""
    from vxlab.experiments.candidates import seeds_in_words
    from vxlab.experiments.sweeps import FairSweep, compare, sweep

    if not isinstance(wanted, FairSweep):
        runs = sweep(wanted, **options)
        print(runs["status"].value_counts().to_string())
        return runs
    result = compare(wanted, **options)
    rows = result.summary[["scores", "draws"]].itertuples(index=False)
    shown = result.summary.assign(seeds=[seeds_in_words(scores, draws=draws) for scores, draws in rows])[_SHOWN]
    if wanted.draws_vary:
        shown = shown.rename(columns={"seeds": "draws"})
    print(shown.to_string(index=False, float_format="{:.4g}".format))
    print(result.verdict(margin))
    return result.runs
