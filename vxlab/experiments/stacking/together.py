"""Train runs together: each goes its own way to its next step, and all steps are one forward and backward pass."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vxlab.collector import pass_over_what_is_there
from vxlab.experiments import RunRecord, hardware
from vxlab.experiments.engines import out_of_memory
from vxlab.experiments.models import quiet_transformers
from vxlab.experiments.runs import (
    AdapterTrainer,
    Job,
    Listener,
    Materials,
    Watch,
    describe_training_of,
    train_job,
    trainer_settings,
)
from vxlab.experiments.stacking.forward import StackedPass, UnstackableError, stacked_model
from vxlab.experiments.stacking.joined import size_of
from vxlab.experiments.stacking.masks import has_own_masks
from vxlab.experiments.stacking.slot import Slot
from vxlab.experiments.stacking.slot_trainer import SlotTrainer

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05}
"""By how much, of its size or of 1, a run's loss in a stack may differ from its loss alone."""

Done = Callable[[Job, RunRecord | Exception], None]
"""Told of every run as it ends: its record, or what was raised."""


class Place(NamedTuple):
    """A run and its folder."""

    job: Job
    folder: Path


@hardware.by_the_spec_alone()
@pass_over_what_is_there()
def train_together(runs: Sequence[Place], materials: Materials, done: Done, width: int) -> None:
    """Train runs of one family, at most ``width`` at a time, and tell of each as it ends.

    A run that ends early leaves its slot to the next that fits it. What is needed to go on after a kill is in every
    run's folder, as if it had trained alone.

    Args:
        runs: that stack with each other (:func:`~vxlab.experiments.stacking.alike.common_to`).
        materials: what they need.
        done: called for each.
        width: slots, 2 or more.

    Raises:
        UnstackableError: the model mixes a batch's rows, reads padding, draws random numbers of its own, fails on a
            stack, or gives a run another loss there than alone, at its first step or where batches are first filled up;
            the runs that were not told of are as if never begun, but for what their folders hold.
    """
    before = torch.get_rng_state()
    waiting = deque(runs)
    try:
        with quiet_transformers():  # out here: as the runs take turns, theirs would be undone in another order
            while waiting:
                _Together(waiting, materials, done, min(width, len(waiting))).until_done()
    finally:
        torch.set_rng_state(before)


class _Together:
    """One stack, and the runs that go through it."""

    def __init__(self, waiting: deque[Place], materials: Materials, done: Done, width: int) -> None:
        self.waiting, self.materials, self.done = waiting, materials, done
        first = [waiting[place] for place in range(width)]
        self.job = first[0].job
        self.stack = stacked_model([each.job for each in first], materials)
        self.together = StackedPass(self.stack, self.job, materials)
        self.slots = [Slot(self.stack, number) for number in range(1, width + 1)]
        self.inside: dict[int, Place] = {}
        self.filled: set[tuple[bool, bool]] = set()
        """whether rows and tokens were filled up, as far as that was compared with a run alone"""

    def until_done(self) -> None:
        """Train all runs that find a slot; in the end no more is waiting that would fit one."""
        try:
            self._fill()
            while active := [slot for slot in self.slots if slot.inputs is not None]:
                self._step(active)
                self._fill()
        finally:
            for slot in self.slots:
                slot.end()
            self.stack.remove()

    def _fill(self) -> None:
        """Let runs that wait into slots that are free and of their method."""
        for slot in self.slots:
            while not slot.running and (place := self._next_for(slot)) is not None:
                self.waiting.remove(place)
                self.inside[slot.number] = place
                self._turn(slot, slot.begin, lambda place=place, slot=slot: self._run(place, slot))

    def _next_for(self, slot: Slot) -> Place | None:
        method = self.stack.methods[slot.number - 1]
        return next((place for place in self.waiting if place.job.spec.method == method), None)

    def _turn(self, slot: Slot, act: Callable[..., Any], *given: Any) -> None:
        """Let a run have its turn, and tell of it where it ended."""
        place = self.inside[slot.number]
        try:
            came = act(*given)
        except Exception as error:
            if isinstance(error, UnstackableError) or out_of_memory(error):
                raise  # of the stack, and no fault of this run's
            came, slot.inputs = error, None
        if not slot.running:
            self.done(place.job, came)

    def _run(self, place: Place, slot: Slot) -> RunRecord:
        def prepare(
            job: Job, folder: Path, materials: Materials, progress: bool, listener: Listener | None
        ) -> tuple[AdapterTrainer, Watch]:
            self.stack.put(slot.number, _start(job, materials, slot.names))
            name, share = describe_training_of(job, materials), job.spec.ends_after
            watch = Watch(name, progress, listener, ends_after=share, clock=slot.seconds)
            settings = trainer_settings(job, folder, materials, watch)
            return SlotTrainer(slot=slot, together=len(self.slots), **settings), watch

        return train_job(place.job, place.folder, self.materials, prepare=prepare)

    def _step(self, active: Sequence[Slot]) -> None:
        """Take one step of all runs that wait for theirs."""
        started = time.perf_counter()
        self._require_same_losses(active)
        losses = self._losses(active)
        torch.autograd.backward(losses)
        share = (time.perf_counter() - started) / len(active)
        for slot in active:
            slot.charge(share)
        for slot, loss in zip(active, losses, strict=True):
            self._turn(slot, slot.go_on, loss.detach())

    def _losses(self, slots: Sequence[Slot], *, drop: bool = True) -> list[Tensor]:
        """Return the losses of slots' batches in one pass; what is dropped out moves the slots' random numbers on."""
        generators = [slot.random.generator(slot.device) for slot in slots]
        numbers, batches = [slot.number for slot in slots], [slot.inputs or {} for slot in slots]
        losses = self.together.losses(numbers, batches, generators, drop=drop)
        for slot, generator in zip(slots, generators, strict=True):
            slot.random = slot.random.moved(generator)
        return losses

    def _require_same_losses(self, active: Sequence[Slot]) -> None:
        """Refuse a model that gives runs other losses in the stack than alone.

        At every run's first step, and where batches are filled up as none was before: first batches hold the longest
        texts, in all runs. With masks where they are to be the same, without where they cannot be.
        """
        sizes = [size_of(slot.inputs or {}) for slot in active]
        rows, tokens = (max(each) for each in zip(*sizes, strict=True))
        filled = [(own[0] < rows, own[1] < tokens) for own in sizes]
        new = [slot.steps == 0 or how not in self.filled for slot, how in zip(active, filled, strict=True)]
        if not any(new):
            return
        drop, before = not has_own_masks(self.job), [slot.random for slot in active]
        with torch.no_grad():
            together = [float(loss) for loss in self._losses(active, drop=drop)]
        for slot, random in zip(active, before, strict=True):
            slot.random = random
        for slot, how, loss in compress(zip(active, filled, together, strict=True), new):
            alone = self._loss_alone(slot, drop)
            if math.isfinite(alone):
                if how[1]:
                    self._require_unread(slot, rows, tokens)
                self._require_same(slot, loss, alone)
                self.filled.add(how)

    def _require_unread(self, slot: Slot, rows: int, tokens: int) -> None:
        """Refuse a model that reads the padding beyond a run's own: in its loss half precision might hide that."""
        assert slot.inputs is not None
        with slot.single() as model:
            moved = self.together.moved_by_filling(model, slot.inputs, rows, tokens)
        if not moved <= TOLERANCE["bfloat16" if self.job.spec.quantisation else "float32"]:
            raise UnstackableError(
                f"the padding that other runs' longer texts ask for moves a text's logits by {moved:.1e} of their "
                "size: this model does not leave padding alone"
            )

    def _loss_alone(self, slot: Slot, drop: bool) -> float:
        """Return the loss that a run's batch has where nothing is stacked, without moving its random numbers."""
        slot.random.restore(slot.device)
        with torch.no_grad(), slot.single() as model, self.together.precision():
            return float(model.train(drop)(**slot.inputs or {}).loss)

    def _require_same(self, slot: Slot, together: float, alone: float) -> None:
        allowed = TOLERANCE[self.job.precision] * max(1.0, abs(alone))
        if not abs(together - alone) <= allowed:
            raise UnstackableError(
                f"a loss of {self.inside[slot.number].job.key[:12]} is {alone:.6f} alone and {together:.6f} in "
                "a stack: this model does not compute a row by itself, or draws random numbers in a way that cannot be "
                "told apart by run"
            )


def _start(job: Job, materials: Materials, names: Sequence[str]) -> dict[str, Tensor]:
    """Return what a run alone would start from."""
    model = materials.adapted(job)
    values = {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}
    if sorted(values) != sorted(names):
        raise UnstackableError(f"{job.spec.method} trains {len(values)} tensors alone and {len(names)} in a stack")
    return values
