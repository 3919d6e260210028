"""What a kind of task decides: the model's class, its inputs and batches, and the answer that needs no model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor, nn

Rows = Mapping[str, Any]
"""A split's columns by name, each a list."""
Collate = Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Tensor]]
"""Encoded rows to a batch of them."""


@dataclass(frozen=True)
class Form:
    """How a run writes a task's rows for its model; a kind reads the fields that it knows."""

    max_length: int = 128
    """tokens"""
    chat_template: str | None = None
    """of prompts: ``tokenizer`` for the tokenizer's own, or a template file's path; None writes none"""
    packing: bool = False
    """whether a batch's rows stand one after the other in one row, instead of being padded"""
    resolution: int | None = None
    """pixels of a side of the square that a model of images reads; None takes the model's own"""
    augmentation: str = "none"
    """of training images: ``none`` or ``flip-crop``"""


class Kind(ABC):
    """One kind of task. There is one object of each, and nothing but these objects tells kinds apart."""

    name: ClassVar[str]
    auto_class: ClassVar[str]
    """of transformers, that loads its models"""
    trains_head: ClassVar[bool]
    """whether its models get a new head"""
    reads: ClassVar[str] = "texts"
    """what its models read, by a tokenizer, or by an image reader: ``texts`` or ``images``"""
    writes: ClassVar[bool] = False
    """whether its models write texts"""
    loss: ClassVar[str]
    """in words"""
    answer_columns: ClassVar[tuple[str, ...]]
    """of :meth:`answer`"""
    most_scored: ClassVar[int | None] = None
    """rows of a batch that is only scored, at most; None where the memory of their answers hardly counts"""

    @abstractmethod
    def usual_metrics(self, num_labels: int) -> tuple[str, ...]:
        """Return what is reported of a data set of the user's own; the first chooses the checkpoint on validation."""

    def scored_unwritten(self, metrics: tuple[str, ...]) -> tuple[str, ...]:
        """Return those metrics that need no text of the model's: of these validation after every epoch is."""
        return metrics

    @abstractmethod
    def strata(self, rows: Rows) -> NDArray[Any]:
        """Return (rows,) what samples and carved splits keep the mix of: classes, targets, or all alike."""

    @abstractmethod
    def constant(self, strata: NDArray[Any]) -> float:
        """Return the label that scores best without a look at the text, from those of the training rows."""

    @abstractmethod
    def trivial_name(self, metric: str) -> str:
        """Return what the simplest answer is, in words."""

    @abstractmethod
    def encode(self, rows: Rows, reader: Any, form: Form, split: str) -> dict[str, list[Any]]:
        """Return a split's columns for the model, with ``length`` (tokens) and ``row`` (of the split) of each.

        Args:
            rows: of the split.
            reader: the model's tokenizer, or where it reads images an image reader.
            form: of the run.
            split: its name.

        Raises:
            VxlabError: a row that the model could not read or answer.
        """

    @abstractmethod
    def collate(self, reader: Any, form: Form) -> Collate:
        """Return what makes a batch of encoded rows, without ``length`` and ``row``."""

    def inputs(self, rows: Rows, reader: Any, form: Form) -> dict[str, Tensor]:
        """Return rows as one batch of what their model reads, without what is right; of prompts the bare texts.

        Args:
            rows: of a split, one or more.
            reader: as :meth:`encode` takes it.
            form: of the run.
        """
        texts = [list(rows[column]) for column in ("text", "text_pair") if column in rows]
        return dict(reader(*texts, truncation=True, max_length=form.max_length, padding=True, return_tensors="pt"))

    def augment(self, batch: Mapping[str, Tensor], form: Form) -> Mapping[str, Tensor]:
        """Return a training batch as its step sees it, changed by chance where the form asks for that."""
        return batch

    @abstractmethod
    def batch_loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Return a batch's mean loss, as a step on it has it.

        Args:
            model: of this kind.
            batch: from what :meth:`collate` returns.
        """

    def lesson(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Return what to differentiate for what the labels of a batch teach: where there are none, its mean loss.

        Args:
            model: of this kind.
            batch: as :meth:`batch_loss` takes it.
        """
        return self.batch_loss(model, batch)

    @abstractmethod
    def answer(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Return (rows, columns): what a model answers to a batch, or how likely it finds what is right.

        Summed by item, where an item has several rows, it is what :func:`vxlab.experiments.scoring.compute` scores by
        the task's first metric.

        Args:
            model: in evaluation mode.
            batch: from what :meth:`collate` returns, without packing.
        """
