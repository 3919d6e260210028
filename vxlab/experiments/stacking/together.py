"""Train runs together: each goes its own way to its next step, and all steps are one forward and backward pass."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vxlab.adapters.stacked import Stack, stack_adapters
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, hardware
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
from vxlab.experiments.stacking.joined import Joined, join_batches
from vxlab.experiments.stacking.noise import Part, SlotNoise
from vxlab.experiments.stacking.slot import Slot
from vxlab.experiments.stacking.slot_trainer import SlotTrainer

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05}
"""By how much, of its size or of 1, a run's first loss in a stack may differ from its loss alone."""

Done = Callable[[Job, RunRecord | Exception], None]
"""Told of every run as it ends: its record, or what was raised."""


class UnstackableError(VxlabError):
    """These runs cannot train together; one after the other they can."""


class Place(NamedTuple):
    """A run and its folder."""

    job: Job
    folder: Path


@hardware.by_the_spec_alone()
def train_together(runs: Sequence[Place], materials: Materials, done: Done, width: int) -> None:
    """Train runs of one family, at most ``width`` at a time, and tell of each as it ends.

    A run that ends early leaves its slot to the next that fits it. What is needed to go on after a kill is in every
    run's folder, as if it had trained alone.

    Args:
        runs: that :func:`~vxlab.experiments.stacking.alike.stacks_with` each other.
        materials: what they need.
        done: called for each.
        width: slots, 2 or more.

    Raises:
        UnstackableError: the model mixes a batch's rows, draws random numbers of its own, or gives a run another first
            loss in the stack than alone; the runs that were not told of are as if never begun, but for what their
            folders hold.
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
        self.tokenizer = materials.tokenizer(self.job.spec)
        device = hardware.own_device(self.job.device)
        self.stack = _stacked(materials.model(self.job.spec).to(device), [each.job for each in first])
        self.slots = [Slot(self.stack, number) for number in range(1, width + 1)]
        self.inside: dict[int, Place] = {}
        self.checked: set[str] = set()

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
            came = error
            slot.inputs = None
        if not slot.running:
            self.done(place.job, came)

    def _run(self, place: Place, slot: Slot) -> RunRecord:
        def prepare(
            job: Job, folder: Path, materials: Materials, progress: bool, listener: Listener | None
        ) -> tuple[AdapterTrainer, Watch]:
            self.stack.put(slot.number, _start(job, materials, slot.names))
            watch = Watch(describe_training_of(job, materials), progress, listener, clock=slot.seconds)
            settings = trainer_settings(job, folder, materials, watch)
            return SlotTrainer(slot=slot, together=len(self.slots), **settings), watch

        return train_job(place.job, place.folder, self.materials, prepare=prepare)

    def _step(self, active: Sequence[Slot]) -> None:
        """Take one step of all runs that wait for theirs."""
        started = time.perf_counter()
        for slot in active:
            if slot.steps == 0:
                self._check(slot)
        losses = self._losses(active)
        torch.stack(losses).sum().backward()
        share = (time.perf_counter() - started) / len(active)
        for slot, loss in zip(active, losses, strict=True):
            slot.charge(share)
            self._turn(slot, slot.go_on, loss.detach())

    def _losses(self, active: Sequence[Slot]) -> list[Tensor]:
        """Return every slot's loss of its batch, all from one forward pass, whose masks are each slot's own."""
        for parameter in self.stack.parameters().values():
            parameter.grad = None
        joined = join_batches([slot.inputs for slot in active if slot.inputs is not None], self.tokenizer)
        generators = [slot.generator() for slot in active]
        logits = self._logits(active, joined, generators)
        for slot, generator in zip(active, generators, strict=True):
            slot.drawn(generator)
        return [
            mean_loss(logits[place * joined.rows : place * joined.rows + len(labels)], labels)
            for place, labels in enumerate(joined.labels)
        ]

    def _logits(self, active: Sequence[Slot], joined: Joined, generators: Sequence[torch.Generator]) -> Tensor:
        own = zip(generators, joined.labels, joined.own_tokens, strict=True)
        parts = [Part(generator, len(labels), tokens) for generator, labels, tokens in own]
        left = self.tokenizer.padding_side == "left"
        noise = SlotNoise(parts, joined.rows, joined.tokens, left)
        self.stack.slots.draw_mask = noise.draw_mask
        self.stack.model.train()
        with self.stack.only([slot.number for slot in active]) as model, self._precision(), noise:
            logits: Tensor = model(**joined.inputs).logits
        return logits

    def _check(self, slot: Slot) -> None:
        """See that a run's first loss in the stack is the one that it has alone."""
        assert slot.inputs is not None
        with torch.no_grad():
            (together,) = self._losses_unmoved([slot])
            torch.set_rng_state(slot.generator().get_state())
            with slot.single() as model, self._precision():
                alone = model.train()(**slot.inputs).loss
        allowed = TOLERANCE[self.job.precision] * max(1.0, abs(float(alone)))
        if math.isfinite(float(alone)) and not abs(float(together) - float(alone)) <= allowed:
            raise UnstackableError(
                f"the first loss of {self.inside[slot.number].job.key[:12]} is {float(alone):.6f} alone and "
                f"{float(together):.6f} in a stack: this model does not compute a row by itself, or draws random "
                "numbers in a way that cannot be told apart by run"
            )

    def _losses_unmoved(self, active: Sequence[Slot]) -> list[Tensor]:
        states = [slot.generator() for slot in active]
        losses = self._losses(active)
        for slot, state in zip(active, states, strict=True):
            slot.drawn(state)
        return losses

    def _precision(self) -> torch.autocast:
        dtype = torch.bfloat16 if self.job.precision == "bfloat16" else torch.float32
        device = torch.device(self.job.device).type
        return torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss that transformers' sequence classifiers have: cross-entropy, or of one number the squared error."""
    if logits.shape[-1] == 1:
        return functional.mse_loss(logits.squeeze(-1), labels.squeeze())
    return functional.cross_entropy(logits, labels)


def _stacked(model: nn.Module, jobs: Iterable[Job]) -> Stack:
    specs = [job.spec for job in jobs]
    try:
        return stack_adapters(model, [spec.method for spec in specs], specs[0].targets)
    except VxlabError as error:
        raise UnstackableError(str(error)) from error


def _start(job: Job, materials: Materials, names: Sequence[str]) -> dict[str, Tensor]:
    """Return what a run alone would start from."""
    model = materials.adapted(job)
    values = {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}
    if sorted(values) != sorted(names):
        raise UnstackableError(f"{job.spec.method} trains {len(values)} tensors alone and {len(names)} in a stack")
    return values
