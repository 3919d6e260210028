"""Carry out a fair sweep: tune, widen, report, gather."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from vxlab.checks import quote, settle
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec, family_name
from vxlab.experiments.engines import Engine, make_engine
from vxlab.experiments.runs import Job, fresh_materials, hold_leases, prepare_store, settle_training
from vxlab.experiments.store import ENDED, Store, Where, open_store
from vxlab.experiments.sweeps.bundles import Bundles
from vxlab.experiments.sweeps.comparison import Comparison, gather
from vxlab.experiments.sweeps.driver import drive
from vxlab.experiments.sweeps.many_runs import all_specs, jobs_of, rows_of
from vxlab.experiments.sweeps.plan import check_fit, plan_runs
from vxlab.experiments.sweeps.progress import SweepProgress
from vxlab.experiments.sweeps.protocol import FairSweep
from vxlab.experiments.sweeps.tuning import finalists, sides, tuning_table, untuned_table


def compare(
    fair: FairSweep,
    *,
    store: Where = None,
    engine: "str | Engine" = "inline",
    workers: int | None = None,
    stack: int | None = None,
    progress: bool = True,
    fresh: bool = False,
    train: bool = True,
) -> Comparison:
    """Carry out a fair sweep: tune every candidate with the same budget, and report the chosen on fresh seeds.

    What the store has is not trained again: called again, it gives the same tables at once, and a killed comparison
    goes on where it stopped.

    Args:
        fair: the candidates and the budget.
        store: as :func:`vxlab.run` takes it.
        engine: ``inline``, ``processes`` or ``ray``, as :func:`vxlab.sweep` takes it.
        workers: runs at a time, where the engine runs several.
        stack: as :func:`vxlab.sweep` takes it.
        progress: say what is to be done and how long it takes, and show how far it is.
        fresh: train again what the store has, and replace it; killed, it goes on without this.
        train: False takes what the store has, and raises where it lacks a run.

    Raises:
        VxlabError: as :func:`vxlab.sweep`; a rank that does not fit its layers is refused before anything runs.
    """
    if not isinstance(fair, FairSweep):
        raise VxlabError(f"fair={quote(fair)} is no vxlab.FairSweep; for a list of runs call vxlab.sweep")
    progress, (fresh, train) = settle("progress", progress, bool), settle_training(fresh, train)
    bundles = Bundles(stack)
    with open_store(store) as results, hold_leases(results) as owner, make_engine(engine, workers=workers) as pool:
        fresh_materials()
        stages = _Stages(fair, results, pool, progress, owner, fresh, train, bundles=bundles)
        told = stages.announce()
        if progress and train:
            print(told)
        tuning = stages.tune()
        stages.report(tuning)
        return gather(fair, stages.runs(), tuning, results)


def announce(
    wanted: FairSweep | Sequence[RunSpec],
    *,
    store: Where = None,
    engine: str | Engine = "inline",
    workers: int | None = None,
    stack: int | None = None,
) -> str:
    """Return how many runs a sweep has, how many are done, and what the others take, and train none.

    Args:
        wanted: a fair sweep, or a list of runs.
        store: as :func:`vxlab.run` takes it.
        engine: as :func:`vxlab.sweep` takes it.
        workers: runs at a time.
        stack: as :func:`vxlab.sweep` takes it.

    Raises:
        VxlabError: as :func:`vxlab.sweep` before it trains.
    """
    bundles = Bundles(stack)
    with open_store(store) as results, make_engine(engine, workers=workers) as pool:
        fresh_materials()
        if isinstance(wanted, FairSweep):
            return _Stages(wanted, results, pool, progress=True, bundles=bundles).announce()
        jobs = bundles.keyed(jobs_of(all_specs(wanted), pool))
        check_fit(jobs)
        bundles.require_some(jobs)
        return plan_runs(jobs, results, pool, bundles=bundles)


class Swept(NamedTuple):
    """What a store has of a fair sweep."""

    keys: list[str]
    """of its runs that ended"""
    lacking: int
    """runs that are yet to be trained, or failed: without those by which ranges may grow"""


def find_swept(fair: FairSweep, *, store: Where = None, stack: int | None = None) -> Swept:
    """Return which runs of a fair sweep a store has, and how many it lacks; nothing is trained or timed.

    Args:
        fair: the sweep.
        store: as :func:`vxlab.run` takes it.
        stack: as it was trained: some runs that train together have other keys.

    Raises:
        VxlabError: as :func:`vxlab.sweep` before it trains.
    """
    with open_store(store) as results, make_engine("inline") as pool:
        fresh_materials()
        ahead = _Stages(fair, results, pool, bundles=Bundles(stack), foresees=True)
        expected = ahead.foresee()
        keys = list(dict.fromkeys(key for *_, key in ahead.placed))
        states = results.status(keys)
        ended = [key for key in keys if key in states and states[key].status in ENDED]
        unknown = sum(expected.values()) - expected["widening"] - len(ahead.placed)
        return Swept(ended, len(keys) - len(ended) + max(0, unknown))


class _UndecidedError(Exception):
    """Runs of a stage are not done, so those after it cannot be known yet."""

    def __init__(self, description: str) -> None:
        self.widens = description in ("tuning", "tuning, wider ranges")


@dataclass
class _Stages:
    """The stages of one comparison: each a list of runs that follows from the one before."""

    fair: FairSweep
    results: Store
    engine: Engine
    progress: bool = False
    owner: str = ""
    fresh: bool = False
    may_train: bool = True
    bundles: Bundles = field(default_factory=Bundles)
    foresees: bool = False
    """whether it trains nothing, and goes only as far as the store's runs decide"""
    prepared: set[str] = field(default_factory=set)
    placed: dict[tuple[str, str, str], Job] = field(default_factory=dict)
    """the runs by candidate, stage (``tuning`` or ``report``) and key"""

    def announce(self) -> str:
        """Refuse what does not fit, and return what is to come."""
        jobs = self._jobs([spec for _, spec in [*self._grid({}), *self.fair.untuned()]])
        check_fit(jobs)
        self.bundles.require_some([*jobs, *self._like_reports()])
        self._prepare(jobs)
        if not self.progress:
            return ""
        ahead = _Stages(self.fair, self.results, self.engine, bundles=self.bundles, foresees=True)
        expected = ahead.foresee()
        alike = self.fair.tuning_share == 1 or any(stage == "report" for _, stage, _ in ahead.placed)
        later = [] if alike else self._like_reports()
        return plan_runs(list(ahead.placed.values()), self.results, self.engine, expected, later, self.bundles)

    def foresee(self) -> dict[str, int]:
        """Go through the stages as far as the store's runs decide them, and return how many runs each has.

        ``widening`` is what may be added yet; 0 where that is settled.
        """
        try:
            self.report(self.tune())
        except _UndecidedError as undecided:
            if undecided.widens:
                grown = len(self.placed) - len(self._grid({}))
                expected = self.fair.runs()
                more = max(0, expected["widening"] - max(0, grown))  # runs that differ in nothing are one
                return {**expected, "tuning": expected["tuning"] + grown, "widening": more}
        stages = Counter(stage for _, stage, _ in self.placed)
        return {"tuning": stages["tuning"], "report": stages["report"] or self.fair.runs()["report"], "widening": 0}

    def tune(self) -> pd.DataFrame:
        """Try every candidate's rates, wider ranges for all while a best is on an edge, and return the choice."""
        if not self.fair.tuning_seeds:
            return untuned_table([(name, family_name(spec.method), spec) for name, spec in self._grid({})])
        wider = dict.fromkeys(self.fair.tuned, (0, 0))
        for widened in range(self.fair.widen + 1):
            self._train("tuning", self._grid(wider), "tuning, wider ranges" if widened else "tuning")
            table = self._tuning(1)
            inside = table["chosen"] & (table["edge"] == "")
            if self.fair.learning_rates == 1 or inside.sum() == len(wider):
                break
            for name, side in sides(table).items():
                below, above = wider[name]
                wider[name] = (below + (side == "low"), above + (side == "high"))
        if self.fair.tuning_seeds > 1:
            best = finalists(self._of_stage("tuning"), self.fair.finalists)
            others = range(1, self.fair.tuning_seeds)
            specs = (
                (name, self.fair.spec(self.fair.names[name], *rates, seed, tuning=True))
                for name, pairs in best.items()
                for rates in pairs
                for seed in others
            )
            self._train("tuning", specs, "tuning, further seeds")
        return self._tuning(self.fair.tuning_seeds)

    def report(self, tuning: pd.DataFrame) -> None:
        """Run each candidate's chosen rates on fresh seeds and draws, and once, or once a draw, what has neither."""
        chosen = tuning.loc[tuning["chosen"], ["candidate", "learning_rate", "head_learning_rate"]]
        fresh = (
            (name, self.fair.spec(self.fair.names[name], rate, head, seed))
            for name, rate, head in chosen.itertuples(index=False)
            for seed in self.fair.fresh_seeds
        )
        lucks = "draws" if self.fair.draws_vary else "seeds"
        self._train("report", [*fresh, *self.fair.untuned()], f"report, fresh {lucks}")

    def runs(self) -> pd.DataFrame:
        """Return the store's rows of all runs so far, with their ``candidate`` and ``stage``."""
        candidates, stages, keys = zip(*self.placed, strict=True)
        return rows_of(keys, self.results).assign(candidate=candidates, stage=stages)

    def _grid(self, wider: dict[str, tuple[int, int]]) -> list[tuple[str, RunSpec]]:
        return [
            (name, self.fair.spec(candidate, rate, head, 0, tuning=True))
            for name, candidate in self.fair.names.items()
            for rate in self.fair.rates(candidate, *wider.get(name, (0, 0)))
            for head in self.fair.head_learning_rates
        ]

    def _like_reports(self) -> list[Job]:
        """Return runs such as will be reported, whichever rates are chosen."""
        names, head = self.fair.names, self.fair.head_learning_rates[0]
        tuned = [
            self.fair.spec(names[name], names[name].centre, head, seed)
            for name in self.fair.tuned
            for seed in self.fair.fresh_seeds
        ]
        return self._jobs([*tuned, *(spec for _, spec in self.fair.untuned())])

    def _train(self, stage: str, specs: Iterable[tuple[str, RunSpec]], description: str) -> None:
        """Train the runs that this comparison does not have yet."""
        named = list(specs)
        jobs = self._jobs([spec for _, spec in named])
        new = {(name, stage, job.key): job for (name, _), job in zip(named, jobs, strict=True)}
        if self.foresees:
            self.placed |= new
            states = self.results.status({job.key for job in jobs})
            if any(job.key not in states or states[job.key].status == "running" for job in jobs):
                raise _UndecidedError(description)
            return
        lacking = [job for place, job in new.items() if place not in self.placed]
        self._prepare(lacking)
        with SweepProgress(len({job.key for job in lacking}), self.progress and bool(lacking), description) as show:
            drive(lacking, self.results, self.engine, show, self.owner, self.bundles)
        self.placed |= new

    def _jobs(self, specs: Sequence[RunSpec]) -> list[Job]:
        return self.bundles.keyed(jobs_of(specs, self.engine))

    def _prepare(self, jobs: Sequence[Job]) -> None:
        """See once that the store has a run, or does not have it, as is wanted."""
        new = [job for job in jobs if job.key not in self.prepared]
        prepare_store(new, self.results, self.fresh, self.may_train)
        self.prepared |= {job.key for job in new}

    def _tuning(self, seeds: int) -> pd.DataFrame:
        return tuning_table(self._of_stage("tuning"), seeds)

    def _of_stage(self, stage: str) -> pd.DataFrame:
        runs = self.runs()
        own = runs[runs["stage"] == stage]
        return own.assign(method=[family_name(self.fair.names[name].method) for name in own["candidate"]])
