"""The forward pass of a step that several runs take together, with every run's own loss."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vxlab.adapters.stacked import Stack, stack_adapters
from vxlab.errors import VxlabError
from vxlab.experiments import hardware
from vxlab.experiments.runs import Job, Materials
from vxlab.experiments.stacking.joined import Joined, join_batches
from vxlab.experiments.stacking.noise import SlotNoise, SlotRows


class UnstackableError(VxlabError):
    """These runs cannot train together; one after the other they can."""


def stacked_model(jobs: Sequence[Job], materials: Materials) -> Stack:
    """Return the base of runs with all their adapters on it, a slot each, on their device.

    Raises:
        UnstackableError: the methods or the model do not stack.
    """
    first = jobs[0].spec
    model = materials.model(first).to(hardware.own_device(jobs[0].device))
    try:
        return stack_adapters(model, [job.spec.method for job in jobs], first.targets)
    except VxlabError as error:
        raise UnstackableError(str(error)) from error


class StackedPass:
    """Compute the losses of several runs' batches in one forward pass.

    Args:
        stack: of the runs.
        job: any of them; in what counts here they are alike.
        materials: what they need.
    """

    def __init__(self, stack: Stack, job: Job, materials: Materials) -> None:
        self.stack, self.job, self.tokenizer = stack, job, materials.tokenizer(job.spec)

    def losses(
        self,
        slots: Sequence[int],
        batches: Sequence[Mapping[str, Tensor]],
        generators: Sequence[torch.Generator],
        *,
        drop: bool = True,
    ) -> list[Tensor]:
        """Return every slot's mean loss of its batch; the stack's gradients are forgotten.

        Args:
            slots: of the stack, from 1.
            batches: one of each, with labels.
            generators: of each, for what it drops out; they move on as in a run alone.
            drop: whether to drop out, as in training.

        Raises:
            VxlabError: the batches do not go together, or the model draws random numbers in another way.
        """
        for parameter in self.stack.parameters().values():
            parameter.grad = None
        joined = join_batches(batches, self.tokenizer)
        logits = self._logits(slots, joined, generators, drop)
        starts = range(0, len(logits), joined.rows)
        return [
            classifier_loss(logits[start : start + len(labels)], labels)
            for start, labels in zip(starts, joined.labels, strict=True)
        ]

    def precision(self) -> torch.autocast:
        """Return the context in which the runs' models compute."""
        half = self.job.precision == "bfloat16"
        return torch.autocast(torch.device(self.job.device).type, dtype=torch.bfloat16, enabled=half)

    def _logits(
        self, slots: Sequence[int], joined: Joined, generators: Sequence[torch.Generator], drop: bool
    ) -> Tensor:
        own = zip(generators, joined.labels, joined.own_tokens, strict=True)
        parts = [SlotRows(generator, len(labels), tokens) for generator, labels, tokens in own]
        noise = SlotNoise(parts, joined.rows, joined.tokens, self.tokenizer.padding_side == "left")
        self.stack.slots.draw_mask = noise.draw_mask
        self.stack.model.train(drop)
        with self.stack.only(slots) as model, self.precision(), noise:
            logits: Tensor = model(**joined.inputs).logits
        return logits


def classifier_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of transformers' sequence classifiers: cross-entropy, or of one number the squared error."""
    if logits.shape[-1] == 1:
        return functional.mse_loss(logits.squeeze(-1), labels.squeeze())
    return functional.cross_entropy(logits, labels)
