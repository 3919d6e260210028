"""Whether runs are trained, trained again, or taken from the store: what ``fresh`` and ``train`` mean everywhere."""

from collections.abc import Sequence

from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec, describe_method
from vxlab.experiments.runs.inputs import Job
from vxlab.experiments.store import ENDED, Store, run_folder


def settle_training(fresh: bool, train: bool) -> tuple[bool, bool]:
    """Return both as bools; raise VxlabError where they are none, or ask for both at once."""
    fresh, train = settle("fresh", fresh, bool), settle("train", train, bool)
    if fresh and not train:
        raise VxlabError("fresh=True trains again, and train=False trains nothing; give one of them")
    return fresh, train


def prepare_store(jobs: Sequence[Job], results: Store, fresh: bool, train: bool) -> None:
    """See that the store is as a call needs it: without these runs where ``fresh``, with them where not ``train``.

    Raises:
        VxlabError: a process trains one of them now, and nothing is deleted; or the store lacks some that are not to be
            trained, which are named.
    """
    if fresh:
        results.require_writable()
        _delete(jobs, results)
    if not train or results.read_only:
        _require_trained(jobs, results, train)


def _delete(jobs: Sequence[Job], results: Store) -> None:
    keys = list(dict.fromkeys(job.key for job in jobs))
    for key in keys:
        results.require_idle(key)
    for key in keys:
        results.forget(key)
        run_folder.clear(results.folder_of(key))


def _require_trained(jobs: Sequence[Job], results: Store, train: bool) -> None:
    wanted = {job.key: job for job in jobs}
    states = results.status(list(wanted))
    done = {key for key, state in states.items() if state.status in ENDED}
    if missing := [job for key, job in wanted.items() if key not in done]:
        told = [_describe(job.spec) for job in missing]
        more = f", and {len(told) - 3} more" if len(told) > 3 else ""
        lacks = f"{results.name} lacks {len(missing)} of {len(wanted)} runs: {'; '.join(told[:3])}{more}"
        if train:
            raise VxlabError(f"{lacks}; it is only read, as an atlas is, so name another store to train them into")
        raise VxlabError(f"train=False, and {lacks}; train them with train=True, or name the store that has them")


def _describe(spec: RunSpec) -> str:
    where = f" at {spec.learning_rate:g}, seed {spec.seed}" if spec.method.by_gradient else ""
    return describe_method(spec.method) + where + ("" if spec.shots is None else f", draw {spec.draw}")
