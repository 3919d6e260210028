"""One run among those that train together: its part of the stack, its random numbers, its clock."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]
from torch import Tensor, nn

from vxlab.adapters.placement import head_parameters
from vxlab.adapters.stacked import Stack
from vxlab.experiments.stacking.random_state import RandomState


class Slot:
    """One run's place in a stack. What the run does by itself, it does in a greenlet of its own.

    Args:
        stack: of all runs that train together.
        number: of this one, from 1.
    """

    def __init__(self, stack: Stack, number: int) -> None:
        self.stack, self.number = stack, number
        with stack.single(number) as model:
            self.names = tuple(name for name, each in model.named_parameters() if each.requires_grad)
            self.head = frozenset(head_parameters(model))
        self.inputs: Mapping[str, Tensor] | None = None
        """of the step that the run waits for; None where it has none to take"""
        self.steps = 0
        """taken in this slot by the run that is in it"""
        self._greenlet: greenlet | None = None
        self._seconds, self._since = 0.0, 0.0
        self.device = next(stack.model.parameters()).device
        self.random = RandomState.now(self.device)
        """in which the run's numbers are"""
        self._alone = False

    @property
    def running(self) -> bool:
        """Whether a run is in the slot that is not done."""
        return self._greenlet is not None and not self._greenlet.dead

    def begin(self, run: Callable[[], Any]) -> Any:
        """Let a run go to its first step; return what it comes to where it takes none."""
        self._greenlet, self.steps, self._seconds = greenlet(run), 0, 0.0
        return self._switch()

    def go_on(self, loss: Tensor) -> Any:
        """Let the run go on after a step, to its next; return what it comes to where that was its last."""
        self.steps += 1
        return self._switch(loss)

    def end(self) -> None:
        """End the run where it is; what it holds, it gives back."""
        if self._greenlet is not None and self.running:
            self._greenlet.throw(GreenletExit)

    def wait_for_step(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Wait, within the run, until the stack has taken the step; return its loss."""
        parent = getcurrent().parent
        assert parent is not None
        loss: Tensor = parent.switch(inputs)
        return loss

    def seconds(self) -> float:
        """Return the time that the run has had: its own, and its share of the passes that it was part of."""
        return self._seconds + (time.perf_counter() - self._since if getcurrent() is self._greenlet else 0.0)

    def charge(self, seconds: float) -> None:
        """Add a share of a pass to the run's time."""
        self._seconds += seconds

    @contextmanager
    def single(self) -> Iterator[nn.Module]:
        """Yield the model with this run's adapter and head alone on it; within itself it does nothing more."""
        if self._alone:
            yield self.stack.model
            return
        with self.stack.single(self.number) as model:
            self._alone = True
            try:
                yield model
            finally:
                self._alone = False

    def _switch(self, *given: Tensor) -> Any:
        assert self._greenlet is not None
        self.random.restore(self.device)
        self._since = time.perf_counter()
        try:
            came = self._greenlet.switch(*given)
        finally:
            self._seconds += time.perf_counter() - self._since
            self.random = RandomState.now(self.device)
        self.inputs = None if self._greenlet.dead else came
        return came if self._greenlet.dead else None


class SlotModel(nn.Module):
    """One slot of a stack as a model of its own, for a trainer: its parameters are the stack's own memory.

    Its forward pass is for evaluation, within :meth:`Slot.single`.
    """

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.config = slot.stack.model.config
        self._slot = slot
        values = slot.stack.values(slot.number)
        self._own = {name: nn.Parameter(values[name]) for name in slot.names}

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what the slot trains, in the order of a model with its adapter alone."""
        yield from self._own.items()

    def take_gradients(self) -> None:
        """Let every parameter have its part of the stack's gradients."""
        gradients = self._slot.stack.gradients(self._slot.number)
        for name, parameter in self._own.items():
            parameter.grad = gradients.get(name)

    def forward(self, **batch: Tensor) -> Any:
        """Evaluate a batch with this slot's adapter alone."""
        model = self._slot.stack.model
        if model.training != self.training:
            model.train(self.training)
        return model(**batch)
