"""What an outside task found of a model or of a run: its scores, and what they are made of, item by item."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vxlab.experiments.record import pack_texts, unpack_texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ITEM, _DOCUMENTS, _NAMES, _SUBTASK = "item.", "documents", "subtask_names", "subtask"


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """One model or run on one task that was not trained on, judged by others' code or by a judge.

    A metric's name has lm-eval's form, ``metric,filter``: ``acc,none``, ``exact_match,strict-match``.
    """

    key: str
    """sha256 of all that decided the numbers"""
    run: str
    """the key of the run that was evaluated, "" of a model as it is"""
    model: str
    """the model's name, or that of the run's base"""
    fingerprint: str
    """of the model's weights, config and tokenizer"""
    task: str
    """its name, such as ``arc_easy`` or ``mmlu``"""
    settings: dict[str, Any] = field(repr=False)
    """in force, all that the numbers depend on beside the model; evaluations with the same may be compared"""
    scores: dict[str, float]
    """by metric, as the task has them"""
    higher_is_better: dict[str, bool | None] = field(repr=False)
    """by metric, where the task says so"""
    parts: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)
    """of a group the scores of each of its tasks and smaller groups, by name"""
    items: "dict[str, NDArray[np.float64]]" = field(repr=False)
    """by metric (items,) what each item scored, of metrics that are means of items; NaN of an item that has none"""
    documents: tuple[str, ...] = field(repr=False)
    """of each item the start of a sha256 of what was asked: evaluations are paired on equal documents alone"""
    subtasks: tuple[str, ...] = field(repr=False)
    """of each item the task that it is of"""
    notes: tuple[str, ...] = field(default=(), repr=False)
    """what the scores do not show, such as prompts that were cut"""
    seconds: float = field(repr=False)
    """that it took"""
    hardware: dict[str, Any] = field(repr=False)
    versions: dict[str, str] = field(repr=False)
    finished_at: str = field(repr=False)
    """UTC, ISO 8601"""

    def fields(self) -> dict[str, Any]:
        """Return all but the items as plain JSON values, with null for a score that is NaN or infinite."""
        without = ("items", "documents", "subtasks")
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name not in without}
        safe: dict[str, Any] = json.loads(json.dumps(_without_nan(fields), allow_nan=False))
        return safe

    def packed(self) -> bytes:
        """Return the items as the bytes of a safetensors file."""
        import torch
        from safetensors.torch import save

        names = sorted(set(self.subtasks))
        place = {name: number for number, name in enumerate(names)}
        tensors = {f"{_ITEM}{metric}": torch.from_numpy(values.copy()) for metric, values in self.items.items()}
        tensors[_DOCUMENTS], tensors[_NAMES] = pack_texts(self.documents), pack_texts(names)
        tensors[_SUBTASK] = torch.tensor([place[name] for name in self.subtasks], dtype=torch.int32)
        return save(tensors)

    @classmethod
    def unpack(cls, fields: dict[str, Any], packed: bytes) -> "Evaluation":
        """Return the evaluation that :meth:`fields` and :meth:`packed` were taken from."""
        from safetensors.torch import load

        tensors = load(packed)
        names = unpack_texts(tensors[_NAMES])
        return cls(
            **{**fields, "scores": _with_nan(fields["scores"]), "notes": tuple(fields["notes"])},
            items={
                name.removeprefix(_ITEM): tensor.numpy() for name, tensor in tensors.items() if name.startswith(_ITEM)
            },
            documents=tuple(unpack_texts(tensors[_DOCUMENTS])),
            subtasks=tuple(names[number] for number in tensors[_SUBTASK].tolist()),
        )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(scores: dict[str, float | None]) -> dict[str, float]:
    return {metric: math.nan if value is None else value for metric, value in scores.items()}
