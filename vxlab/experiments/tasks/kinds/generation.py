"""Prompts with answers: the model writes, and its loss is on the answer alone."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vxlab.experiments.tasks.kinds.answered import LOG_LIKELIHOOD, Answered
from vxlab.experiments.tasks.kinds.kind import Form, Rows


class Generation(Answered):
    """Prompts, each with one answer to train on, or with its references to be scored against.

    A training split has the columns ``text`` (the prompt) and ``answer``; the others have one row for each input, with
    ``text`` and ``references``, a list of one answer or more.
    """

    name: ClassVar[str] = "generation"
    writes: ClassVar[bool] = True

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

    def encode(self, rows: Rows, reader: Any, form: Form, split: str) -> dict[str, list[Any]]:
        from vxlab.experiments.tasks.kinds.answers import encode_answers

        return encode_answers(rows, reader, form, split)
