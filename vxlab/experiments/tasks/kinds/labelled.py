"""Texts with a label each: classes to tell apart, or numbers to come close to."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.kinds.kind import Collate, Form, Kind, Rows


class Labelled(Kind):
    """Texts, or pairs of them, for a model that answers with numbers: one a class, or one."""

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    trains_head: ClassVar[bool] = True
    answer_columns: ClassVar[tuple[str, ...]] = ("answer",)

    def strata(self, rows: Rows) -> NDArray[Any]:
        return np.asarray(rows["label"])

    def encode(self, rows: Rows, reader: Any, form: Form, split: str) -> dict[str, list[Any]]:
        texts = [list(rows[column]) for column in ("text", "text_pair") if column in rows]
        encoded = dict(reader(*texts, truncation=True, max_length=form.max_length))
        lengths = [len(ids) for ids in encoded["input_ids"]]
        if 0 in lengths:
            row = lengths.index(0)
            raise VxlabError(
                f"row {row} of the {split} split holds {texts[0][row]!r}, in which its tokenizer sees no token; take "
                "it out"
            )
        return {**encoded, "label": list(rows["label"]), "length": lengths, "row": list(range(len(lengths)))}

    def collate(self, reader: Any, form: Form) -> Collate:
        from transformers import DataCollatorWithPadding

        collate: Collate = DataCollatorWithPadding(reader)
        return collate

    def batch_loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        loss: Tensor = model(**batch).loss
        return loss

    def lesson(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Return ``loss(y) - E loss(π(y))`` up to a constant, π a random order of the batch's labels.

        Its gradient is that of ``c·mean_i (ȳ - y_i)·f(x_i)``: for classes with y one-hot and c = 1, for squared errors
        with c = 2, as both losses have gradients linear in y. What depends on which text has which label is left, and
        what the texts or the share of each label alone would teach is not; with shuffled labels the mean is zero.
        """
        logits: Tensor = model(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits.float()
        labels, width = batch["labels"], logits.shape[-1]
        right = nn.functional.one_hot(labels, width).to(logits) if width > 1 else 2 * labels.to(logits)[:, None]
        lesson: Tensor = ((right.mean(0) - right) * logits).sum() / len(logits)
        return lesson

    def answer(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = model(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits
        return logits.argmax(-1, keepdim=True).float() if logits.shape[-1] > 1 else logits.float()


class Classification(Labelled):
    """Classes by their ids."""

    name: ClassVar[str] = "classification"
    loss: ClassVar[str] = "cross-entropy"

    def usual_metrics(self, num_labels: int) -> tuple[str, ...]:
        return ("accuracy", "f1") if num_labels == 2 else ("accuracy", "f1_macro")

    def constant(self, strata: NDArray[Any]) -> float:
        return float(np.bincount(strata).argmax())

    def trivial_name(self, metric: str) -> str:
        return "most frequent class"


class Regression(Labelled):
    """Numbers."""

    name: ClassVar[str] = "regression"
    loss: ClassVar[str] = "squared error"

    def usual_metrics(self, num_labels: int) -> tuple[str, ...]:
        return ("pearson", "spearman")

    def constant(self, strata: NDArray[Any]) -> float:
        return float(strata.mean())

    def trivial_name(self, metric: str) -> str:
        return "training mean"
