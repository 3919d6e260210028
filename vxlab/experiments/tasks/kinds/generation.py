"""Prompts with answers: the model writes, and its loss is on the answer alone."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from vxlab.experiments.tasks.kinds.kind import Collate, Form, Kind, Rows

LOG_LIKELIHOOD = "log_likelihood"


class Generation(Kind):
    """Prompts, each with one answer to train on, or with its references to be scored against.

    A training split has the columns ``text`` (the prompt) and ``answer``; the others have one row for each input, with
    ``text`` and ``references``, a list of one answer or more.
    """

    name: ClassVar[str] = "generation"
    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    trains_head: ClassVar[bool] = False
    loss: ClassVar[str] = "cross-entropy per token"
    answer_columns: ClassVar[tuple[str, ...]] = ("answer", "tokens")
    most_scored: ClassVar[int | None] = 16

    def usual_metrics(self, num_labels: int) -> tuple[str, ...]:
        return (LOG_LIKELIHOOD, "exact_match", "bleu")

    def scored_unwritten(self, metrics: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in metrics if name == LOG_LIKELIHOOD)

    def strata(self, rows: Rows) -> NDArray[Any]:
        return np.zeros(len(rows["text"]), dtype=np.int64)

    def constant(self, strata: NDArray[Any]) -> float:
        return 0.0

    def trivial_name(self, metric: str) -> str:
        return "token frequencies" if metric == LOG_LIKELIHOOD else "one training answer"

    def encode(self, rows: Rows, tokenizer: Any, form: Form, split: str) -> dict[str, list[Any]]:
        from vxlab.experiments.tasks.kinds.answers import encode_answers

        return encode_answers(rows, tokenizer, form, split)

    def collate(self, tokenizer: Any, form: Form) -> Collate:
        from vxlab.experiments.tasks.kinds.answers import collate_answers

        return collate_answers(tokenizer, form)

    def batch_loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        from vxlab.experiments.tasks.kinds.answer_loss import answer_loss

        return answer_loss(model, batch)

    def answer(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        from vxlab.experiments.tasks.kinds.answer_loss import answer_log_likelihoods

        return answer_log_likelihoods(model, batch)
