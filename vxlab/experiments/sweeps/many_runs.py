"""Many runs: each trained once, in this process, in several, or on a cluster, and kept as soon as it ends."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vxlab.checks import settle, settle_list
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec, hardware
from vxlab.experiments.engines import Engine, make_engine
from vxlab.experiments.runs import Job, fresh_materials, hold_leases, prepare_store, settle_training, shared_materials
from vxlab.experiments.store import Store, Where, open_store
from vxlab.experiments.sweeps.bundles import Bundles
from vxlab.experiments.sweeps.driver import drive
from vxlab.experiments.sweeps.plan import check_fit, plan_runs
from vxlab.experiments.sweeps.progress import SweepProgress


def sweep(
    specs: Sequence[RunSpec],
    *,
    store: Where = None,
    engine: "str | Engine" = "inline",
    workers: int | None = None,
    stack: int | None = None,
    progress: bool = True,
    fresh: bool = False,
    train: bool = True,
) -> pd.DataFrame:
    """Train every run that the store does not have, and return all of them as a table.

    A run that fails is a row with its error, and the sweep goes on; called again, failed runs are tried again.
    Killed at any point, the next call goes on where it stopped. Several processes, or machines with one Postgres
    store, may call it with the same specs: each run is trained by one of them.

    Args:
        specs: the runs; the same one twice is trained once.
        store: as :func:`vxlab.run` takes it.
        engine: ``inline`` (this process), ``processes`` (several on this machine) or ``ray`` (GPUs and clusters).
        workers: runs at a time, where the engine runs several; None takes what the machine has.
        stack: runs of one family that train together in one pass, at most: 1 trains each alone, 8 stacks up to 8, and
            None times a few steps both ways and takes the faster. A run's numbers are the same but for rounding.
        progress: say what is to be done, and show a bar with the time left and the highest validation score so far.
        fresh: train again what the store has, and replace it.
        train: False takes what the store has, and raises where it lacks a run.

    Returns:
        One row a run, in the order of ``specs``; :meth:`Store.table` has the columns.

    Raises:
        VxlabError: a spec's model, task, device or precision cannot be had, a rank does not fit its layers, or runs are
            to be stacked of which no two can: then nothing has run. Or the store lacks a run that is not to be trained,
            or has one trained now that is to be trained again. Or the store fails: then what has finished is kept.
    """
    specs = all_specs(specs)
    progress, (fresh, train) = settle("progress", progress, bool), settle_training(fresh, train)
    bundles = Bundles(stack)
    # The leases are released last, when no worker trains any more.
    with open_store(store) as results, hold_leases(results) as owner, make_engine(engine, workers=workers) as pool:
        fresh_materials()
        jobs = bundles.keyed(jobs_of(specs, pool))
        check_fit(jobs)
        bundles.require_some(jobs)
        prepare_store(jobs, results, fresh, train)
        if progress and train:
            print(plan_runs(jobs, results, pool, bundles=bundles))
        with SweepProgress(len({job.key for job in jobs}), progress) as show:
            drive(jobs, results, pool, show, owner, bundles)
        return rows_of([job.key for job in jobs], results)


def all_specs(specs: Any) -> list[RunSpec]:
    """Return runs as a list, one or more; refuse what holds anything else."""
    found = settle_list("specs", specs, RunSpec, "runs, vxlab.RunSpec(...); a FairSweep is for vxlab.compare")
    if not found:
        raise VxlabError("specs is empty; give one RunSpec or more")
    return found


def rows_of(keys: Sequence[str], results: Store) -> pd.DataFrame:
    """Return the store's rows of runs in the order of their keys, a run as often as its key occurs."""
    table = results.table(dict.fromkeys(keys)).set_index("key", drop=False)
    return table.loc[list(keys)].reset_index(drop=True)


def jobs_of(specs: Sequence[RunSpec], engine: Engine) -> list[Job]:
    """Look up what the specs name.

    Raises:
        VxlabError: as :func:`sweep`, or torchrun started several processes, of which each would train other runs.
    """
    hardware.require_one_process("a sweep")
    return [shared_materials().job(spec, engine.device) for spec in specs]
