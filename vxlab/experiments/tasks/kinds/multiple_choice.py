"""Questions with some answers to choose from: the model chooses the one that it finds likeliest."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vxlab.experiments.tasks.kinds.answered import LOG_LIKELIHOOD, Answered
from vxlab.experiments.tasks.kinds.kind import Form, Rows


class MultipleChoice(Answered):
    """Prompts, each with two answers or more of which one is right; nothing is written.

    Every split has the columns ``text`` (the prompt), ``choices`` (a list of answers) and ``label`` (which of them is
    right, from 0); where the prompt differs by answer, also ``contexts``, a list of as many prompts. The model trains
    on the right answers' tokens, and is scored by the log-probabilities of all.
    """

    name: ClassVar[str] = "multiple_choice"

    def usual_metrics(self, num_labels: int) -> tuple[str, ...]:
        return ("acc", "acc_norm", LOG_LIKELIHOOD)

    def strata(self, rows: Rows) -> NDArray[Any]:
        return np.asarray(rows["label"], dtype=np.int64)

    def constant(self, strata: NDArray[Any]) -> float:
        return float(np.bincount(strata).argmax())

    def trivial_name(self, metric: str) -> str:
        return "token frequencies" if metric == LOG_LIKELIHOOD else "most frequent position"

    def encode(self, rows: Rows, reader: Any, form: Form, split: str) -> dict[str, list[Any]]:
        from vxlab.experiments.tasks.kinds.choices import encode_choices

        return encode_choices(rows, reader, form, split)
