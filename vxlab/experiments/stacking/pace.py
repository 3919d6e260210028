"""How long a step takes in a stack, against the same steps one after the other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch.nn.utils import clip_grad_norm_

from vxlab.adapters.placement import hold_weights_rounded
from vxlab.experiments.costs import Step, time_call, training_step
from vxlab.experiments.runs import Job, Materials, parameter_groups
from vxlab.experiments.stacking.forward import StackedPass, stacked_model
from vxlab.experiments.stacking.slot import Slot, SlotModel
from vxlab.experiments.stacking.typical import typical_batch

PAYS = 1.05
"""So many times as fast must a stack be, that its own beginning and end cost no more than it saves."""


class StackPace(NamedTuple):
    """Seconds of one step of one run."""

    alone: float
    stacked: float
    """its share of a step of all"""
    width: int

    @property
    def times_faster(self) -> float:
        """How many times as fast runs are in the stack."""
        return self.alone / self.stacked

    @property
    def pays(self) -> bool:
        """Whether to stack them."""
        return self.times_faster >= PAYS


def time_stack(jobs: Sequence[Job], materials: Materials) -> StackPace:
    """Time steps of runs both ways, on texts of median length, or on images.

    Args:
        jobs: that may train together.
        materials: what they need.

    Raises:
        UnstackableError: they cannot.
    """
    with torch.random.fork_rng(devices=[]):
        together = _step_together(jobs, materials)
        with _step_alone(jobs[0], materials) as alone:
            for step in (alone, together):
                step()
            seconds = [(time_call(alone), time_call(together) / len(jobs)) for _ in range(2)]
    return StackPace(min(one for one, _ in seconds), min(share for _, share in seconds), len(jobs))


@contextmanager
def _step_alone(job: Job, materials: Materials) -> Iterator[Step]:
    """Yield a step of a run alone, whose frozen weights are held rounded as they are there."""
    model = materials.adapted(job).to(job.device).train()
    batch = typical_batch(job, materials)
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-12)
    step = training_step(model, batch, optimizer, job.precision, materials.task(job.spec).kind.batch_loss)
    with hold_weights_rounded(model, getattr(torch, job.precision), batch):
        yield step


def _step_together(jobs: Sequence[Job], materials: Materials) -> Step:
    stack, numbers = stacked_model(jobs, materials), list(range(1, len(jobs) + 1))
    together, batch = StackedPass(stack, jobs[0], materials), typical_batch(jobs[0], materials)
    slots = [Slot(stack, number) for number in numbers]
    models = [SlotModel(slot) for slot in slots]
    optimizers = [
        torch.optim.AdamW(parameter_groups(model, 1e-12, 1e-12, 0.0, slot.head))
        for slot, model in zip(slots, models, strict=True)
    ]
    generators = [slot.random.generator(slot.device) for slot in slots]

    def step() -> None:
        torch.autograd.backward(together.losses(numbers, [batch] * len(jobs), generators))
        for model, optimizer in zip(models, optimizers, strict=True):
            model.take_gradients()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    return step
