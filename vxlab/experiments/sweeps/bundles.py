"""Which runs of a sweep train together in one pass: as the user says, or as timed steps say."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments import family_name
from vxlab.experiments.engines import Engine, Outcome
from vxlab.experiments.runs import Job, shared_materials
from vxlab.experiments.stacking import StackPace, common_to, group_alike, masks_differ, reason_alone, with_own_masks
from vxlab.experiments.sweeps.worker import time_in_worker
from vxlab.progress import progress_bar

WIDTH = 8
"""Runs in one pass where nothing else is asked for; more gained little on two cores."""
_WORTH_STEPS = 400
"""Steps of a group of runs below which timing them both ways costs more than a stack saves."""


class Bundles:
    """Part a sweep's runs into bundles that are trained one after the other, each together in one pass.

    Args:
        stack: runs in one pass at most; 1 trains every run alone, None times a few steps both ways and takes the
            faster.

    Raises:
        VxlabError: it is no such number.
    """

    def __init__(self, stack: int | None = None) -> None:
        if stack is not None and (isinstance(stack, bool) or not isinstance(stack, int) or stack < 1):
            raise VxlabError(
                f"stack={quote(stack)} is not a number of runs in one pass; choose 1 (each alone), 8, or None"
            )
        self.stack = stack
        self.paces: dict[Hashable, StackPace | str] = {}
        """of each kind of runs both ways, or why it cannot be stacked"""
        self._names: dict[Hashable, str] = {}

    def keyed(self, jobs: Sequence[Job]) -> list[Job]:
        """Return runs under the keys that they have in a stack, if asked for: others on a GPU, as their masks are."""
        if self.stack is None or self.stack < 2:
            return list(jobs)
        materials = shared_materials()
        owned = [with_own_masks(job) if masks_differ(job, materials) else job for job in jobs]
        return [job if reason_alone(own, materials) else own for job, own in zip(jobs, owned, strict=True)]

    def require_some(self, jobs: Sequence[Job]) -> None:
        """Refuse to stack where no two of all runs of a sweep can train together; of what is left of it, they need not.

        Raises:
            VxlabError: it says why.
        """
        if self.stack in (None, 1) or len(jobs) < 2:
            return
        if any(len(group) > 1 for group in group_alike(jobs, shared_materials())):
            return
        reasons: dict[Any, str | None] = {job.spec.method.name: reason_alone(job, shared_materials()) for job in jobs}
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason)
        raise VxlabError(
            f"stack={self.stack}, and none of {len(jobs)} runs can train together with another "
            f"({told or 'no two of them share model, data, family and layers'}); leave stack out"
        )

    def decide(self, jobs: Sequence[Job], engine: Engine, shown: bool = False) -> None:
        """Time steps of runs that may train together, where that may pay, on an engine that has no other job.

        Args:
            jobs: the runs.
            engine: where they will train.
            shown: show a bar meanwhile.
        """
        if self.stack is not None:
            return
        groups = [group for group in group_alike(jobs, shared_materials()) if len(group) > 1]
        timed = {group[0].key: group for group in groups if self._is_open(group)}
        for key, group in timed.items():
            specs = [(job.spec, job.key) for job in group[:WIDTH]]
            engine.submit(key, time_in_worker, specs, group[0].device)
        outcomes = wait_for_timings(engine, len(timed), "timing steps of several in one pass", shown)
        for key, group in timed.items():
            self._names[_paced(group[0])] = family_name(group[0].spec.method)
            self.paces[_paced(group[0])] = outcomes[key].error or outcomes[key].value

    def arrange(self, jobs: Sequence[Job], slots: int) -> list[list[Job]]:
        """Return the runs in bundles, about as many as there are workers at the least.

        Args:
            jobs: that wait.
            slots: workers.
        """
        most = max(1, math.ceil(len(jobs) / max(1, slots)))
        groups = group_alike(jobs, shared_materials())
        parts = [math.ceil(len(group) / min(most, self._width(group))) for group in groups]
        _even_out(parts, [len(group) for group in groups], slots)
        return [
            group[len(group) * part // count : len(group) * (part + 1) // count]
            for group, count in zip(groups, parts, strict=True)
            for part in range(count)
        ]

    def speed(self, job: Job) -> float:
        """Return how many times as fast a run's steps are for being taken with others'; 1 where that is not known."""
        pace = self.paces.get(_paced(job))
        return pace.times_faster if isinstance(pace, StackPace) and pace.pays else 1.0

    def in_words(self) -> list[str]:
        """Return what timed steps said, in sentences; none where nothing was timed."""
        timed = [(self._names[kind], pace) for kind, pace in self.paces.items() if isinstance(pace, StackPace)]
        together = [f"{name} {pace.times_faster:.2f}" for name, pace in timed if pace.pays]
        alone = [f"{name} {pace.times_faster:.2f}" for name, pace in timed if not pace.pays]
        told = []
        if together:
            told.append(
                f"Up to {WIDTH} runs train in one pass where timed steps are faster so (times as fast as one after the "
                f"other: {', '.join(together)})."
            )
        if alone:
            told.append(f"Alone, since one pass for several is not faster: {', '.join(alone)}.")
        refused = [(self._names[kind], pace) for kind, pace in self.paces.items() if isinstance(pace, str)]
        return told + [f"Runs of {name} train alone: {error.rstrip('.')}." for name, error in refused]

    def _width(self, group: Sequence[Job]) -> int:
        if reason_alone(group[0], shared_materials()):
            return 1
        if self.stack is not None:
            return self.stack
        pace = self.paces.get(_paced(group[0]))
        return WIDTH if isinstance(pace, StackPace) and pace.pays else 1

    def _is_open(self, group: Sequence[Job]) -> bool:
        """Say whether these are to be timed, and have not been."""
        spec = group[0].spec
        rows = len(shared_materials().splits(spec)["train"])
        steps = len(group) * spec.epochs * math.ceil(rows / spec.batch_size)
        return _paced(group[0]) not in self.paces and steps >= _WORTH_STEPS


def wait_for_timings(engine: Engine, count: int, description: str, shown: bool) -> dict[str, Outcome]:
    """Return by key what an engine timed of so many kinds of runs, which takes a minute or two on a slow machine."""
    outcomes: dict[str, Outcome] = {}
    with progress_bar(count, description, "kind of run", delay=2.0, shown=shown) as bar:
        while len(outcomes) < count:
            outcomes |= {outcome.key: outcome for outcome in engine.finished(timeout=60)}
            bar.update(len(outcomes) - bar.n)
    return outcomes


def _paced(job: Job) -> Hashable:
    """Return what runs have in common whose steps take as long."""
    return common_to(replace(job, spec=replace(job.spec, ends_after=1.0)))


def _even_out(parts: list[int], sizes: Sequence[int], slots: int) -> None:
    """Part the groups with the largest bundles further, until all workers have as many bundles where that can be."""
    while sum(parts) % max(1, slots) and any(size > part for size, part in zip(sizes, parts, strict=True)):
        largest = max(range(len(parts)), key=lambda place: sizes[place] / parts[place])
        parts[largest] += 1
