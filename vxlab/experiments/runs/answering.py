"""How a run answers its test splits, by the kind of its task: with logits, or with what it writes."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vxlab.experiments.runs.answer_trainer import AnswerTrainer
from vxlab.experiments.runs.chosen import chosen_answers, gather_choices, trivial_choices
from vxlab.experiments.runs.inputs import Job, Materials
from vxlab.experiments.runs.trainer import AdapterTrainer
from vxlab.experiments.runs.written import likelihoods, mean_loss, row_likelihoods, seconds_to_write, written_answers
from vxlab.experiments.runs.written_trivially import trivial_statistics
from vxlab.experiments.scoring import WIDTH, compute, require_answers
from vxlab.experiments.tasks.kinds import (
    CLASSIFICATION,
    GENERATION,
    IMAGE_CLASSIFICATION,
    MULTIPLE_CHOICE,
    REGRESSION,
    Kind,
)

Array = NDArray[Any]
Scores = dict[str, float]
_TOKEN_BYTES = 5
"""Of a token that was written, as English has them."""
_CHOICE_BYTES = 40
"""Of an answer that was chosen, about."""


class Answers(NamedTuple):
    """What a model answered a split with, in the rows' own order."""

    predictions: Array
    """(items, classes) logits, or (items, columns) statistics of what was written or chosen"""
    labels: Array
    """(items,) what was right, or a number for each input"""
    texts: list[str] | None = None
    """what was written, or chosen"""


class Answering(ABC):
    """How runs of one kind of task are trained, scored and held against the answer that needs no model."""

    @abstractmethod
    def trainer(self, job: Job, materials: Materials) -> Callable[..., AdapterTrainer]:
        """Return what makes a trainer, which lacks the arguments that every kind has."""

    @abstractmethod
    def test(self, trainer: AdapterTrainer, job: Job, materials: Materials, split: str) -> tuple[Answers, Scores]:
        """Return a trained model's answers to a split, and their scores, the loss among them."""

    @abstractmethod
    def trivial(self, job: Job, materials: Materials, split: str) -> Array:
        """Return the simplest answer's predictions of a split, as a model's are."""

    @abstractmethod
    def writing_seconds(self, model: nn.Module, job: Job, materials: Materials) -> float:
        """Return how long a model takes to write to a test item, by a few tokens of it; 0 where it writes nothing."""

    @abstractmethod
    def kept_bytes(self, job: Job, materials: Materials) -> int:
        """Return about how many bytes the predictions file keeps of a test item."""


class _Labels(Answering):
    def trainer(self, job: Job, materials: Materials) -> Callable[..., AdapterTrainer]:
        return AdapterTrainer

    def test(self, trainer: AdapterTrainer, job: Job, materials: Materials, split: str) -> tuple[Answers, Scores]:
        rows = materials.splits(job.spec)[split]
        output = trainer.predict(rows, metric_key_prefix=split)
        order = np.argsort(rows["row"])
        metrics = materials.task(job.spec).metrics
        scores = {name: output.metrics[f"{split}_{name}"] for name in (*metrics, "loss")}
        return Answers(output.predictions[order], output.label_ids[order]), scores

    def trivial(self, job: Job, materials: Materials, split: str) -> Array:
        task = materials.task(job.spec)
        return np.full(len(task.splits[split]), task.constant)

    def writing_seconds(self, model: nn.Module, job: Job, materials: Materials) -> float:
        return 0.0

    def kept_bytes(self, job: Job, materials: Materials) -> int:
        return 4 * (materials.task(job.spec).num_labels + 2)


class AnsweringInWords(Answering):
    """How runs answer whose model has no head: their predictions are statistics of answers in words."""

    def trainer(self, job: Job, materials: Materials) -> Callable[..., AdapterTrainer]:
        padded = materials.collate(job.spec, packing=False)

        def make(**given: Any) -> AdapterTrainer:
            gather = functools.partial(self.gather, job, materials)
            return AnswerTrainer(**given, smoothing=job.spec.label_smoothing, padded=padded, gather=gather)

        return make

    def test(self, trainer: AdapterTrainer, job: Job, materials: Materials, split: str) -> tuple[Answers, Scores]:
        return self.answer(trainer.model.eval(), job, materials, split)

    def validate(
        self, model: nn.Module, job: Job, materials: Materials, done: Callable[[int], object] = lambda rows: None
    ) -> Scores:
        """Return a model's scores on validation as it is, the loss among them, without any text of its own."""
        statistics = self.gather(job, materials, row_likelihoods(model, job, materials, "validation", done))
        task = materials.task(job.spec)
        scores = compute(task.kind.scored_unwritten(task.metrics), statistics, statistics[:, 0])
        return scores | {"loss": mean_loss(statistics)}

    def answer(
        self,
        model: nn.Module,
        job: Job,
        materials: Materials,
        split: str,
        done: Callable[[int], object] = lambda rows: None,
    ) -> tuple[Answers, Scores]:
        """Return a model's answers to a split as it is, and their scores, the loss among them."""
        answers = self.answers(model, job, materials, split, done)
        scores = compute(materials.task(job.spec).metrics, answers.predictions, answers.labels)
        return answers, scores | {"loss": mean_loss(answers.predictions)}

    @abstractmethod
    def gather(self, job: Job, materials: Materials, sums: Array) -> Array:
        """Return the statistics of the validation split's items, of (rows, 2) sums of log-probabilities."""

    @abstractmethod
    def answers(
        self, model: nn.Module, job: Job, materials: Materials, split: str, done: Callable[[int], object]
    ) -> Answers:
        """Return a model's answers to a split; ``done`` is told how many rows more were read or written to."""


class _Writing(AnsweringInWords):
    def trainer(self, job: Job, materials: Materials) -> Callable[..., AdapterTrainer]:
        task = materials.task(job.spec)
        for name in (name for name in task.splits if name.startswith("test")):
            require_answers(task.metrics, task.splits[name]["references"][:])
        return super().trainer(job, materials)

    def gather(self, job: Job, materials: Materials, sums: Array) -> Array:
        return sums  # a reference each

    def answers(
        self, model: nn.Module, job: Job, materials: Materials, split: str, done: Callable[[int], object]
    ) -> Answers:
        sums = likelihoods(model, job, materials, split, done)
        return Answers(*written_answers(model, job, materials, split, sums, done))

    def trivial(self, job: Job, materials: Materials, split: str) -> Array:
        return materials.of_rows(job.spec, f"trivial {split}", lambda: trivial_statistics(job, materials, split))

    def writing_seconds(self, model: nn.Module, job: Job, materials: Materials) -> float:
        return seconds_to_write(model, job, materials) if job.spec.max_new_tokens else 0.0

    def kept_bytes(self, job: Job, materials: Materials) -> int:
        tokens = job.spec.max_new_tokens
        columns = WIDTH if tokens else 2
        return 8 * (2 * columns + 1) + _TOKEN_BYTES * tokens  # the model's, the simplest answer's, and a number


class _Choosing(AnsweringInWords):
    def gather(self, job: Job, materials: Materials, sums: Array) -> Array:
        return gather_choices(job, materials, "validation", sums).statistics

    def answers(
        self, model: nn.Module, job: Job, materials: Materials, split: str, done: Callable[[int], object]
    ) -> Answers:
        return Answers(*chosen_answers(model, job, materials, split, done))

    def trivial(self, job: Job, materials: Materials, split: str) -> Array:
        return trivial_choices(job, materials, split)

    def writing_seconds(self, model: nn.Module, job: Job, materials: Materials) -> float:
        return 0.0

    def kept_bytes(self, job: Job, materials: Materials) -> int:
        return 8 * (2 * WIDTH + 1) + _CHOICE_BYTES


_ANSWERING: dict[str, Answering] = {
    CLASSIFICATION.name: _Labels(),
    IMAGE_CLASSIFICATION.name: _Labels(),
    REGRESSION.name: _Labels(),
    GENERATION.name: _Writing(),
    MULTIPLE_CHOICE.name: _Choosing(),
}


def answering_of(kind: Kind) -> Answering:
    """Return how runs of a kind of task answer."""
    return _ANSWERING[kind.name]


def answering_in_words(kind: Kind) -> AnsweringInWords:
    """Return how runs of a kind of task answer whose model has no head."""
    found = _ANSWERING[kind.name]
    assert isinstance(found, AnsweringInWords), kind.name  # suit_kind lets no other kind come here
    return found
