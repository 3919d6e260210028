"""Prompts with answers in words, for a causal language model whose loss is on the answers' tokens alone."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from vxlab.experiments.tasks.kinds.kind import Collate, Form, Kind

LOG_LIKELIHOOD = "log_likelihood"


class Answered(Kind):
    """What the kinds share whose model has no head of its own: it says how likely it finds an answer's tokens."""

    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    trains_head: ClassVar[bool] = False
    loss: ClassVar[str] = "cross-entropy per token"
    answer_columns: ClassVar[tuple[str, ...]] = ("answer", "tokens")
    most_scored: ClassVar[int | None] = 16

    def collate(self, reader: Any, form: Form) -> Collate:
        from vxlab.experiments.tasks.kinds.answers import collate_answers

        return collate_answers(reader, form)

    def batch_loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        from vxlab.experiments.tasks.kinds.answer_loss import answer_loss

        return answer_loss(model, batch)

    def answer(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        from vxlab.experiments.tasks.kinds.answer_loss import answer_log_likelihoods

        return answer_log_likelihoods(model, batch)
