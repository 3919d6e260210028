"""The forward pass of a step that several runs take together, with every run's own loss."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from vxlab.adapters.stacked import Stack, stack_adapters
from vxlab.errors import VxlabError
from vxlab.experiments import hardware
from vxlab.experiments.engines import out_of_memory
from vxlab.experiments.runs import Job, Materials
from vxlab.experiments.stacking.joined import Joined, fill_up, join_batches, size_of
from vxlab.experiments.stacking.noise import SlotNoise, SlotRows
from vxlab.experiments.stacking.random_state import RandomState
from vxlab.words import first_line


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
        self.stack, self.job = stack, job
        texts = materials.task(job.spec).kind.reads == "texts"
        self.tokenizer = materials.tokenizer(job.spec) if texts else None

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
            UnstackableError: the batches do not go together, the model draws random numbers in another way, or it fails
                on a stack.
        """
        for parameter in self.stack.parameters().values():
            parameter.grad = None
        with _as_unstackable():
            joined = join_batches(batches, self.tokenizer)
            logits = self._logits(slots, joined, generators, drop)
        starts = range(0, len(logits), joined.rows)
        return [
            classifier_loss(logits[start : start + len(labels)], labels)
            for start, labels in zip(starts, joined.labels, strict=True)
        ]

    @torch.no_grad()
    def moved_by_filling(self, model: torch.nn.Module, batch: Mapping[str, Tensor], rows: int, tokens: int) -> float:
        """Return how far a batch's logits move where it is filled up, of their largest or of 1, in evaluation mode.

        Args:
            model: with one adapter alone.
            batch: as :meth:`losses` takes them.
            rows: of the filled batch.
            tokens: of the filled batch.

        Raises:
            UnstackableError: the model fails on one of them.
        """
        own_rows, own_tokens = size_of(batch)
        with _as_unstackable():
            plain = model.eval()(**fill_up(batch, own_rows, own_tokens, self.tokenizer)).logits
            filled = model(**fill_up(batch, rows, tokens, self.tokenizer)).logits
        return float((filled[:own_rows] - plain).abs().max() / plain.abs().max().clamp(min=1))

    def precision(self) -> torch.autocast:
        """Return the context in which the runs' models compute."""
        half = self.job.precision == "bfloat16"
        return torch.autocast(torch.device(self.job.device).type, dtype=torch.bfloat16, enabled=half)

    def _logits(
        self, slots: Sequence[int], joined: Joined, generators: Sequence[torch.Generator], drop: bool
    ) -> Tensor:
        own = zip(generators, joined.labels, joined.own_tokens, strict=True)
        parts = [SlotRows(generator, len(labels), tokens) for generator, labels, tokens in own]
        left = self.tokenizer is not None and self.tokenizer.padding_side == "left"
        noise = SlotNoise(parts, joined.rows, joined.tokens, left)
        self.stack.slots.draw_mask = noise.draw_mask
        self.stack.model.train(drop)
        before = RandomState.now(torch.device(self.job.device))
        with self.stack.only(slots) as model, self.precision(), noise:
            logits: Tensor = model(**joined.inputs).logits
        if not before.holds(torch.device(self.job.device)):
            raise UnstackableError(
                "the model draws random numbers from torch's global generator, and every slot would need its own"
            )
        return logits


@contextmanager
def _as_unstackable() -> Iterator[None]:
    """Say of whatever a model's code raises on a stack that its runs cannot train together."""
    try:
        yield
    except UnstackableError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        told = str(error) if isinstance(error, VxlabError) else f"{type(error).__name__}: {first_line(error)}"
        raise UnstackableError(told) from error


def classifier_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of transformers' sequence classifiers: cross-entropy, or of one number the squared error."""
    if logits.shape[-1] == 1:
        return functional.mse_loss(logits.squeeze(-1), labels.reshape(-1))
    return functional.cross_entropy(logits, labels)
