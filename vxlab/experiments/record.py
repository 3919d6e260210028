"""What a run leaves behind: one record, its adapter and its test predictions."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.adapters import Base
from vxlab.adapters.saving import SETTINGS_FILE
from vxlab.errors import VxlabError
from vxlab.experiments.method_names import method_label
from vxlab.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray

TEXTS, TRIVIAL = "texts", "trivial"
"""In a predictions file, by split: what was written, and the statistics of the simplest answer."""
IMPORTED = "imported"
"""The status of an adapter that was trained elsewhere: it has no task, no scores and no predictions."""
ENDED_EARLY = "ended early"
"""The status of a run that took a share of its steps, as its spec asked: validated where it ended, and not tested."""
RECORD_FILE, PREDICTIONS_FILE, ADAPTER_FOLDER = "record.json", "predictions.safetensors", "adapter"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The result of one run. Times are in seconds, sizes in bytes; only a finished run has a test score."""

    key: str
    """sha256 of all that decided the numbers"""
    spec: dict[str, Any]
    """the RunSpec's fields"""
    status: str
    """``finished``, ``ended early`` as its spec asked, ``diverged``, or ``stopped`` by whoever listened to it; or
    ``imported``, which was no run"""
    task: dict[str, Any] = field(repr=False)
    """name, num_labels, label_names, metrics (the first chose the checkpoint), rows by split, source, overlap (rows
    of a split whose texts another has too), notes (what was said when the data was loaded), constant (the trivial
    answer) and majority (its scores), units (how many, by split, where rows are not independent) and unit (in words)"""
    metrics: list[dict[str, Any]] = field(repr=False)
    """rows of epoch, split, metric, value; the test split at the chosen epoch only"""
    curve: list[dict[str, Any]] = field(repr=False)
    """rows of step, epoch, loss (mean over the steps since the row before), learning_rate"""
    best_epoch: float | None
    """the epoch whose checkpoint had the best first metric on validation; of a stopped run perhaps no whole number, of
    one that ended early where it ended"""
    parameters: dict[str, int]
    """trained in the backbone and in the head, and the base model's total"""
    layers: int
    """number of adapted layers"""
    bytes_stored: int
    """of the saved adapter's folder, the head included"""
    steps: int
    """optimizer steps taken"""
    step_seconds: float
    """median time of a training step, of one together with other runs its share; NaN where a run was taken up after its
    last step"""
    train_seconds: float
    """from the first step to the last, evaluations included; of a run taken up after a kill, since then only"""
    peak_memory: int
    """bytes: allocated on the GPU, or resident in the process on the CPU beyond what was there before the run; of a run
    that trained together with others, of all of them"""
    precision: str
    """in force"""
    hardware: dict[str, Any] = field(repr=False)
    versions: dict[str, str] = field(repr=False)
    finished_at: str
    """UTC, ISO 8601"""
    folder: Path = field(compare=False)
    """where the record, the adapter and the predictions are"""
    identity: dict[str, str] = field(default_factory=dict, repr=False)
    """what the key holds beside the spec: fingerprints of model and task, the precision in force, the version; empty
    in a record from before there were sweeps"""
    training: dict[str, Any] = field(default_factory=dict, repr=False)
    """how it was trained, from :func:`vxlab.experiments.runs.training_facts.describe_training`, and ``timed_steps``, of
    which the times are (fewer than ``steps`` in a run that was taken up again), and ``stacked``, how many runs trained
    together at most, where several did; empty in older records"""
    probe: dict[str, Any] = field(default_factory=dict, repr=False)
    """of a probe: the pooling and the strength (C, or α of a ridge) that were chosen, the folds of the cross-validation
    (0: validation chose the strength, too), whether the strength is on the edge of those tried, and by pooling the
    score on validation"""
    kept: bytes | None = field(default=None, compare=False, repr=False)
    """the predictions file as the store has it, where the folder's is gone or cut short; None where it need not help"""

    @property
    def trains(self) -> bool:
        """Whether its method takes gradient steps; a probe and the untuned base do not."""
        return not self.probe and self.spec.get("method", {}).get("name") != Base.name

    def score(self, metric: str | None = None, split: str = "test") -> float:
        """Return a metric at the chosen epoch, by default the task's first on test; NaN where there is none.

        Raises:
            VxlabError: it is no run's record, but an imported adapter's.
        """
        if self.status == IMPORTED:
            raise VxlabError(
                f"{self.key[:12]} ({method_label(self.spec['method'])}) is an imported adapter, which no run scored: "
                "it has no task here; train one with vxlab.run(spec) for a score"
            )
        metric = metric or self.task["metrics"][0]
        rows = [
            row["value"]
            for row in self.metrics
            if (row["split"], row["metric"], row["epoch"]) == (split, metric, self.best_epoch)
        ]
        return float("nan") if not rows or rows[0] is None else float(rows[0])

    def metrics_table(self) -> "pd.DataFrame":
        """Return every metric by epoch and split."""
        import pandas as pd

        return pd.DataFrame(self.metrics, columns=["epoch", "split", "metric", "value"])

    def curve_table(self) -> "pd.DataFrame":
        """Return training loss and learning rate by step."""
        import pandas as pd

        return pd.DataFrame(self.curve, columns=["step", "epoch", "loss", "learning_rate"])

    def predictions(self, split: str = "test") -> "tuple[torch.Tensor, torch.Tensor]":
        """Return the chosen checkpoint's logits ``(rows, num_labels)`` and the labels ``(rows,)`` of a split.

        Where the model writes, they are statistics ``(inputs, columns)`` of what it wrote, of which every metric is a
        function (:func:`vxlab.experiments.scoring.text_statistics`), and a number for each input.

        Raises:
            VxlabError: the run diverged, has no such split, or its predictions cannot be read.
        """
        return predictions_in(self._predictions(), split, self.key, self.status)

    def units(self, split: str = "test") -> "NDArray[np.int64] | None":
        """Return the number of each predicted row's unit ``(rows,)``, None where every row stands for itself.

        Of records from before units were kept they are looked up in the task, where its rows are still the same.

        Raises:
            VxlabError: as :meth:`predictions`.
        """
        from vxlab.experiments.older_records import look_up_units

        tensors = self._predictions()
        predictions_in(tensors, split, self.key, self.status)  # or it has no such split
        if "units" not in self.task:
            return look_up_units(self, split)
        units = tensors.get(f"{split}.units")
        return None if units is None else units.numpy()

    def texts(self, split: str = "test") -> list[str]:
        """Return what the chosen checkpoint wrote to each input of a split.

        Raises:
            VxlabError: as :meth:`predictions`, or the run wrote nothing.
        """
        tensors = self._predictions()
        predictions_in(tensors, split, self.key, self.status)  # or it has no such split
        if f"{split}.{TEXTS}" not in tensors:
            raise VxlabError(
                f"run {self.key[:12]} has no texts: it wrote none, or is of an atlas, which keeps none; train it with "
                "max_new_tokens above 0"
            )
        return unpack_texts(tensors[f"{split}.{TEXTS}"])

    def constant(self, split: str = "test") -> "float | NDArray[Any]":
        """Return the trivial answer: the training rows' most frequent class, or the mean of their targets.

        Where the model writes, (items, columns) statistics of the simplest answer.

        Of records from before it was kept, the class whose constant answer has the recorded scores; of a regression 0,
        since every constant has the same correlation.
        """
        if (kept := self._predictions().get(f"{split}.{TRIVIAL}")) is not None:
            return kept.numpy()
        if "constant" in self.task:
            return float(self.task["constant"])
        return _constant_with(self.task, split, self.predictions(split)[1].numpy())

    def adapter_folder(self) -> Path:
        """Return the folder of the saved adapter, as :func:`vxlab.load_adapter` takes it.

        Raises:
            VxlabError: the adapter is gone, or the folder is another run's; scores and predictions need neither.
        """
        beside = RunRecord.load(self.folder)
        adapter = self.folder / ADAPTER_FOLDER
        if (adapter / SETTINGS_FILE).is_file() and (beside is None or beside.key == self.key):
            return adapter
        lost = "is not there" if beside is None or beside.key == self.key else f"is of another run, {beside.key[:12]}"
        raise VxlabError(
            f"run {self.key[:12]} ({method_label(self.spec['method'])}): its adapter {adapter} {lost}; its scores and "
            "predictions are kept\nPut the folder back, name where it is with vxlab.Store(where, folder=...), or train "
            "it again with vxlab.run(spec, fresh=True)"
        )

    def _predictions(self) -> "dict[str, torch.Tensor]":
        from safetensors import SafetensorError
        from safetensors.torch import load, load_file

        if self.status != "finished":
            return {}
        file = self.folder / PREDICTIONS_FILE
        try:
            return load(self.kept) if self.kept else load_file(file)
        except (OSError, SafetensorError) as error:
            raise VxlabError(
                f"run {self.key[:12]}: its predictions {file} cannot be read ({str(error).splitlines()[0]}); a store "
                "that has the run has them, too: vxlab.Store(where).predictions(key)"
            ) from error

    @property
    def digest(self) -> str:
        """sha256 of the whole record: of what is computed from a run, since ``fresh=True`` trains one key again."""
        text = json.dumps(self.fields(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self) -> None:
        """Write the record into its folder, whole or not at all."""
        with write_whole(self.folder / RECORD_FILE) as new:
            new.write_text(json.dumps(self.fields(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "RunRecord | None":
        """Read a folder's record; None where there is none, or one that this version did not write."""
        try:
            return cls.read(json.loads((folder / RECORD_FILE).read_text(encoding="utf-8")), folder)
        except (OSError, ValueError):
            return None

    @classmethod
    def read(cls, fields: Any, folder: Path, kept: bytes | None = None) -> "RunRecord | None":
        """Return :meth:`from_fields`, None where these are not the fields of a record that this version knows."""
        try:
            return cls.from_fields(fields, folder, kept)
        except (TypeError, KeyError, AttributeError):
            return None

    @classmethod
    def whole(cls, folder: Path, key: str) -> "RunRecord | None":
        """Read the record of a run that lies in its folder with all that it left behind, None where some is lacking."""
        found = cls.load(folder)
        if found is None or found.key != key or not (folder / ADAPTER_FOLDER / SETTINGS_FILE).is_file():
            return None
        return found if found.status != "finished" or (folder / PREDICTIONS_FILE).is_file() else None

    def fields(self) -> dict[str, Any]:
        """Return all but where the files are as plain JSON values, with null for a number that is NaN or infinite."""
        empty = [name for name in ("training", "probe") if not getattr(self, name)]  # older records' digests stay
        without = ("folder", "kept", *empty)
        fields = {name: value for name, value in dataclasses.asdict(self).items() if name not in without}
        safe: dict[str, Any] = _without_nan(fields)
        return safe

    @classmethod
    def from_fields(cls, fields: dict[str, Any], folder: Path, kept: bytes | None = None) -> "RunRecord":
        """Return the record that :meth:`fields` was taken from, its files in ``folder`` or ``kept``.

        Raises:
            TypeError, KeyError, AttributeError: these are not the fields of a record.
        """
        return cls(**{**_with_nan(fields), "folder": folder, "kept": kept})


def predictions_in(
    tensors: "dict[str, torch.Tensor]", split: str, key: str, status: str
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return a split's logits and labels from what a run's predictions file holds.

    Raises:
        VxlabError: it has no such split.
    """
    if f"{split}.logits" not in tensors:
        raise VxlabError(f"run {key[:12]} ({status}) holds no predictions for split={split!r}")
    return tensors[f"{split}.logits"], tensors[f"{split}.labels"]


def pack_texts(texts: "Sequence[str]") -> "torch.Tensor":
    """Return texts as bytes that a tensor holds: JSON in UTF-8."""
    import torch

    return torch.frombuffer(bytearray(json.dumps(list(texts)).encode()), dtype=torch.uint8)


def unpack_texts(packed: "torch.Tensor") -> list[str]:
    """Return what :func:`pack_texts` packed.

    >>> unpack_texts(pack_texts(["a", "b"]))
    ['a', 'b']
    """
    texts: list[str] = json.loads(packed.numpy().tobytes())
    return texts


def _constant_with(task: dict[str, Any], split: str, labels: "NDArray[Any]") -> float:
    import numpy as np

    from vxlab.experiments.scoring import compute

    if task["num_labels"] == 1:
        return 0.0
    scores = {name: task["majority"][split][name] for name in task["metrics"]}
    for number in range(task["num_labels"]):
        found = compute(task["metrics"], np.full(len(labels), number), labels)
        if all(math.isclose(found[name], score, abs_tol=1e-9) for name, score in scores.items()):
            return float(number)
    raise VxlabError(
        f"no class of {task['name']} has the trivial answer's recorded scores {scores}; train the run anew"
    )


def _with_nan(fields: dict[str, Any]) -> dict[str, Any]:
    """Put NaN back where a number was stored as null."""
    rows = {
        name: [{key: _number(value) if key in ("value", "loss") else value for key, value in row.items()}
               for row in fields[name]]
        for name in ("metrics", "curve")
    }  # fmt: skip
    return {**fields, **rows, "step_seconds": _number(fields["step_seconds"])}


def _number(value: Any) -> Any:
    return math.nan if value is None else value


def _without_nan(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are stored as null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
