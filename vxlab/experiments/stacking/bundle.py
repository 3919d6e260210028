"""Train a few runs together as far as that goes, and one after the other where it does not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vxlab.experiments import RunRecord
from vxlab.experiments.engines import out_of_memory
from vxlab.experiments.runs import Job, Materials, train_job
from vxlab.experiments.stacking.forward import UnstackableError
from vxlab.experiments.stacking.masks import has_own_masks
from vxlab.experiments.stacking.together import Place, train_together


@dataclass
class Trained:
    """How the runs of a bundle ended."""

    errors: dict[str, Exception] = field(default_factory=dict)
    """by the keys of those that failed"""
    finished: list[str] = field(default_factory=list)
    """keys of the others, whose records are in their folders"""
    notes: list[str] = field(default_factory=list)
    """why some did not train together, each a sentence"""

    def take(self, job: Job, came: RunRecord | Exception) -> None:
        """Note how a run ended."""
        if isinstance(came, Exception):
            self.errors[job.key] = came
        else:
            self.finished.append(job.key)


def train_bundle(runs: Sequence[Place], materials: Materials) -> Trained:
    """Train runs in one pass; where memory runs out half as many at a time, where they cannot stack each alone.

    Runs whose key says that their masks are those of a stack are trained in one always, if it be of one.

    Args:
        runs: that may train together, or one.
        materials: what they need.
    """
    trained, width = Trained(), len(runs)
    while left := [run for run in runs if run.job.key not in {*trained.errors, *trained.finished}]:
        if min(width, len(left)) < 2 and not has_own_masks(left[0].job):
            for run in left:
                _train_alone(run, materials, trained)
            break
        try:
            train_together(left, materials, trained.take, width)
        except UnstackableError as error:
            if has_own_masks(left[0].job):
                raise
            width = 1
            trained.notes.append(f"{len(left)} runs are trained one after the other: {error}")
        except Exception as error:
            if width < 2 or not out_of_memory(error):
                raise
            width //= 2
            trained.notes.append(f"Memory ran out with {2 * width} runs in one pass; {width} at a time now.")
    return trained


def _train_alone(run: Place, materials: Materials, trained: Trained) -> None:
    try:
        trained.take(run.job, train_job(run.job, run.folder, materials))
    except Exception as error:
        trained.take(run.job, error)
