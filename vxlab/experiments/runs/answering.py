"""How a run answers its test splits, by the kind of its task: with logits, or with what it writes."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vxlab.experiments.runs.answer_trainer import AnswerTrainer
from vxlab.experiments.runs.inputs import Job, Materials
from vxlab.experiments.runs.trainer import AdapterTrainer
from vxlab.experiments.runs.written import likelihoods, mean_loss, seconds_to_write, written_answers
from vxlab.experiments.runs.written_trivially import trivial_statistics
from vxlab.experiments.scoring import WIDTH, compute
from vxlab.experiments.tasks.kinds import CLASSIFICATION, GENERATION, REGRESSION, Kind

Array = NDArray[Any]
Scores = dict[str, float]
_TOKEN_BYTES = 5
"""Of a token that was written, as English has them."""


class Answers(NamedTuple):
    """What a model answered a split with, in the rows' own order."""

    predictions: Array
    """(items, classes) logits, or (items, columns) statistics of what was written"""
    labels: Array
    """(items,) what was right, or a number for each input"""
    texts: list[str] | None = None
    """what was written"""


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


class _Writing(Answering):
    def trainer(self, job: Job, materials: Materials) -> Callable[..., AdapterTrainer]:
        padded = materials.collate(job.spec, packing=False)

        def make(**given: Any) -> AdapterTrainer:
            return AnswerTrainer(**given, smoothing=job.spec.label_smoothing, padded=padded)

        return make

    def test(self, trainer: AdapterTrainer, job: Job, materials: Materials, split: str) -> tuple[Answers, Scores]:
        return answer_in_writing(trainer.model.eval(), job, materials, split)

    def trivial(self, job: Job, materials: Materials, split: str) -> Array:
        return materials.of_rows(job.spec, f"trivial {split}", lambda: trivial_statistics(job, materials, split))

    def writing_seconds(self, model: nn.Module, job: Job, materials: Materials) -> float:
        return seconds_to_write(model, job, materials) if job.spec.max_new_tokens else 0.0

    def kept_bytes(self, job: Job, materials: Materials) -> int:
        tokens = job.spec.max_new_tokens
        columns = WIDTH if tokens else 2
        return 8 * (2 * columns + 1) + _TOKEN_BYTES * tokens  # the model's, the simplest answer's, and a number


def answer_in_writing(
    model: nn.Module, job: Job, materials: Materials, split: str, done: Callable[[int], object] = lambda rows: None
) -> tuple[Answers, Scores]:
    """Return what a model that writes answers a split with, and its scores, the loss among them."""
    sums = likelihoods(model, job, materials, split, done)
    statistics, identities, texts = written_answers(model, job, materials, split, sums, done)
    scores = compute(materials.task(job.spec).metrics, statistics, identities)
    return Answers(statistics, identities, texts), scores | {"loss": mean_loss(sums)}


_ANSWERING: dict[str, Answering] = {
    CLASSIFICATION.name: _Labels(),
    REGRESSION.name: _Labels(),
    GENERATION.name: _Writing(),
}


def answering_of(kind: Kind) -> Answering:
    """Return how runs of a kind of task answer."""
    return _ANSWERING[kind.name]
