"""The trainer of a run that trains beside others: all is its own but the forward and backward pass of its steps."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from vxlab.experiments.runs import AdapterTrainer
from vxlab.experiments.stacking.slot import Slot, SlotModel


class SlotTrainer(AdapterTrainer):
    """An AdapterTrainer whose steps wait for those of other runs, and are computed with them in one pass.

    Batches, rates, clipping, optimizer, schedule, validation, checkpoints and the log are those of a run alone.

    Args:
        slot: the run's.
        together: how many runs train in one pass, for the record.
    """

    def __init__(self, *args: Any, slot: Slot, together: int, **kwargs: Any) -> None:
        self.slot, self.together, self.own = slot, together, SlotModel(slot)
        kwargs["args"].label_names = ["labels"]  # which Trainer would look for in the signature of the model's forward
        super().__init__(*args, model=self.own, **kwargs)

    def method_schedule(self) -> None:
        """Return nothing: methods that act between steps are trained alone."""

    def head(self) -> frozenset[str]:
        return self.slot.head

    def facts(self) -> dict[str, Any]:
        return {"stacked": self.together}

    def hold_weights_rounded(self) -> AbstractContextManager[None]:
        """Leave the weights: they are those of other runs, too, which begin and end at other times."""
        return nullcontext()

    def training_step(self, model: nn.Module, inputs: Mapping[str, Tensor], num_items_in_batch: Any = None) -> Tensor:
        """Have the stack compute the step's loss and gradients."""
        model.train()
        loss = self.slot.wait_for_step(self._prepare_inputs(self.augment(inputs)))
        self.own.take_gradients()
        return loss

    @contextmanager
    def finishing(self) -> Iterator[object]:
        """Have the model with this run's adapter alone in ``self.model``, to be saved or described.

        Not to be evaluated: accelerate has put the run's precision round the forward pass of the slot's own model.
        """
        before: nn.Module = self.model  # type: ignore[has-type]
        with self.slot.single() as model:
            self.model = model
            try:
                yield model
            finally:
                self.model = before

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        with self.slot.single():
            return super().evaluation_loop(*args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        with self.finishing():
            super()._save(output_dir, state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        with self.finishing():
            super()._load_from_checkpoint(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        with self.finishing():
            super()._load_best_model()

    def _set_signature_columns_if_needed(self) -> None:
        taken = inspect.signature(self.slot.stack.model.forward).parameters
        self._signature_columns = [*taken, "label", "label_ids", "labels"]
