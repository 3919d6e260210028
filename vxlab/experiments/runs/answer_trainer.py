"""The trainer of models that write: its loss and its scores are of the answers' tokens alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import EvalPrediction

from vxlab.experiments.runs.trainer import AdapterTrainer
from vxlab.experiments.runs.written import mean_loss
from vxlab.experiments.scoring import Array
from vxlab.experiments.tasks.kinds import Collate, answer_log_likelihoods, answer_loss


class AnswerTrainer(AdapterTrainer):
    """An AdapterTrainer whose loss is a mean over the answer tokens of a whole step, however the step is parted.

    Args:
        smoothing: of the labels; the loss that is shown on validation is without.
        padded: collates what is scored, where training packs its batches.
        gather: makes the statistics of the validation items of the (rows, 2) sums of its rows.
    """

    def __init__(
        self,
        *args: Any,
        smoothing: float,
        padded: Collate,
        gather: Callable[[Array], Array],
        compute_metrics: Callable[[Any], Any],
        **kwargs: Any,
    ) -> None:
        def scores(output: Any) -> dict[str, float]:
            statistics = gather(output.predictions)
            scored = compute_metrics(EvalPrediction(statistics, np.zeros(len(statistics))))
            return {**scored, "loss": mean_loss(statistics)}  # Trainer's own is a mean of batches, however long

        super().__init__(*args, compute_metrics=scores, **kwargs)
        self.smoothing, self.padded = smoothing, padded
        # So that it counts the tokens of a whole step, over all of its parts and processes.
        self.model_accepts_loss_kwargs = self.args.average_tokens_across_devices = True
        self.loss_is_scaled_for_ga = True

    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool = False, **more: Any) -> Any:
        tokens = more["num_items_in_batch"] / self.args.world_size  # over processes, gradients are averaged
        return answer_loss(model, inputs, tokens, self.smoothing)

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            sums = answer_log_likelihoods(model, inputs)
        return -sums[:, 0].sum() / sums[:, 1].sum(), sums, torch.zeros_like(sums[:, 0])

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        training: Any = self.data_collator  # type: ignore[has-type]
        self.data_collator = self.padded
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training
