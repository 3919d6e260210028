"""What the runs of one process share: the base model, what reads its inputs, and the encoded task, each loaded once."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import datasets
import numpy as np
import torch
from torch import nn

from vxlab._version import __version__
from vxlab.adapters import attach
from vxlab.adapters.core import code_version
from vxlab.adapters.methods import require_registered
from vxlab.errors import VxlabError
from vxlab.experiments import TASK_FIELDS, RunSpec, hardware
from vxlab.experiments.images import ImageReader
from vxlab.experiments.models import (
    check_packing,
    copy_with_new_head,
    load_model,
    load_tokenizer,
    loading_of,
    model_fingerprint,
    name_labels,
    position_limit,
    prepare_images,
    quantising_library,
    reads_images,
    require_embedding,
)
from vxlab.experiments.runs.suited import suit_kind
from vxlab.experiments.tasks import Task
from vxlab.experiments.tasks.kinds import Collate, Kind, read_template

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Job:
    """A spec with what its names stand for looked up."""

    spec: RunSpec
    key: str
    """sha256 of all that decides the numbers"""
    identity: dict[str, str]
    """what the key holds beside the spec: fingerprints of model and task, the precision in force, the version"""
    device: str
    precision: str

    @property
    def digest(self) -> str:
        """what tells a job from every other to whom computes from it"""
        return self.key


class Materials:
    """Load what runs need, and keep the last of it for the next run.

    Args:
        reuse: keep the base model, and hand out copies of it: memory for one more model, and no loading between runs.
    """

    def __init__(self, reuse: bool = True) -> None:
        self.reuse = reuse
        self._fingerprints: _Last[str] = _Last(4)
        self._libraries: _Last[dict[str, str]] = _Last(4)
        self._loading: _Last[str] = _Last(4)
        self._models: _Last[nn.Module] = _Last(1)
        self._tokenizers: _Last[Any] = _Last(4)
        self._image_readers: _Last[ImageReader] = _Last(1)
        self._tasks: _Last[Task] = _Last(4)
        self._splits: _Last[dict[str, datasets.Dataset]] = _Last(4)
        self._computed: _Last[Any] = _Last(8)

    def job(self, spec: RunSpec, device: str | None = None) -> Job:
        """Return a spec's key, and the device and precision it will run with.

        Args:
            spec: the run.
            device: of the workers, where they are not this process; None looks here.

        Raises:
            VxlabError: the model, the task, the device or the precision cannot be had, or nothing could load what a
                method of your own trains, because it is not registered.
        """
        device = device or hardware.resolve_device(spec.device)
        if spec.device not in ("auto", device):
            raise VxlabError(
                f"device={spec.device!r}, but the engine's workers run on {device}; choose auto or {device}"
            )
        precision = hardware.resolve_precision(spec.precision, device)
        task = self.task(spec)
        spec = suit_kind(spec, task.kind)
        _require_own_kind(spec, task.kind)
        require_registered(spec.method)
        identity = {
            "model": self._fingerprints.get(_base_of(spec), lambda: model_fingerprint(*_base_of(spec))),
            "task": f"{task.fingerprint} {' '.join(task.metrics)}",
            "precision": precision,
            "vxlab": __version__,
            **code_version(type(spec.method)),
            **spec.method.versions(),
        }
        identity |= self._libraries.get(_base_of(spec), lambda: quantising_library(*_base_of(spec)))
        if (processes := hardware.processes()) > 1:
            if not spec.method.by_gradient:
                raise VxlabError(f"{spec.method} is fitted by one process; start it without torchrun's {processes}")
            if spec.batch_size % (parts := processes * spec.gradient_accumulation):
                raise VxlabError(
                    f"batch_size={spec.batch_size} does not divide among {processes} processes; choose a multiple of "
                    f"{parts}"
                )
            identity["processes"] = str(processes)
        if task.kind.reads == "images" and spec.resolution is not None:
            self.reader(spec)  # refuses a resolution that the model does not read, before anything is trained
        if loading := self._loading.get((spec.model, task.num_labels), lambda: loading_of(spec.model, task.num_labels)):
            identity["loading"] = loading
        if spec.chat_template is not None:
            template = read_template(spec.chat_template, self.tokenizer(spec)) or ""
            identity["chat_template"] = hashlib.sha256(template.encode()).hexdigest()
        return Job(spec, spec.key(**identity), identity, device, precision)

    def task(self, spec: RunSpec) -> Task:
        """Return the rows that a run by this spec sees."""
        return self._tasks.get(_task_of(spec), spec.load_task)

    def tokenizer(self, spec: RunSpec) -> Any:
        """Return the model's tokenizer.

        Raises:
            VxlabError: it reads fewer tokens than the spec's ``max_length``.
        """
        tokenizer = self._tokenizers.get(spec.model, lambda: load_tokenizer(spec.model))
        if spec.max_length > (most := tokenizer.model_max_length):
            raise _too_long(spec, most)
        return tokenizer

    def reader(self, spec: RunSpec) -> Any:
        """Return what reads the task's rows for the model: its tokenizer, or where it reads images an image reader.

        Raises:
            VxlabError: as :meth:`tokenizer`, or the resolution is none that the model reads.
        """
        task = self.task(spec)
        if task.kind.reads == "texts":
            return self.tokenizer(spec)
        # Not of the draw: what was decoded for one draw's shots, the next need not decode.
        key = spec.model, spec.resolution, task.fingerprint
        return self._image_readers.get(
            key, lambda: ImageReader(prepare_images(spec.model, spec.resolution), task.images)
        )

    def splits(self, spec: RunSpec) -> dict[str, datasets.Dataset]:
        """Return the task's splits as the model's inputs, labels, lengths and row numbers."""
        reader, task = self.reader(spec), self.task(spec)

        def encoded() -> dict[str, datasets.Dataset]:
            return {name: _encoded(task, name, reader, spec) for name in task.splits}

        form = spec.max_length, spec.chat_template, spec.resolution
        return self._splits.get((spec.model, *form, _task_of(spec)), encoded)

    def collate(self, spec: RunSpec, packing: bool | None = None) -> Collate:
        """Return what makes a batch of rows of :meth:`splits`, without their lengths and numbers.

        Args:
            spec: the run.
            packing: whether its rows stand in one; None takes the spec's.
        """
        form = spec.form if packing is None else replace(spec.form, packing=packing)
        return self.task(spec).kind.collate(self.reader(spec), form)

    def of_rows(self, spec: RunSpec, what: str, compute: Callable[[], Kept]) -> Kept:
        """Return what follows from a run's rows and its model's tokens alone, computed once for all such runs.

        Args:
            spec: the run.
            what: is computed, of all that is.
            compute: called where it is not here.
        """
        found: Kept = self._computed.get((what, spec.model, spec.form, _task_of(spec)), compute)
        return found

    def model(self, spec: RunSpec) -> nn.Module:
        """Return the base model with a new head from torch's global generator, the caller's own to change.

        Raises:
            VxlabError: the model has no position or embedding for what it would be given, or cannot find its end.
        """
        base = self.base(spec) if self.reuse else None
        model = copy_with_new_head(base) if base is not None and base.vxlab_copies else self._loaded(spec)
        if self.task(spec).kind.reads == "texts":
            self._check_tokens(model, spec)
        return name_labels(model, self.task(spec).label_names)

    def adapted(self, job: Job) -> nn.Module:
        """Return a job's model with its method on it, where the method asks for gradients on the job's device."""
        from vxlab.experiments.runs.gradients import first_gradients  # which takes batches from here

        spec, model = job.spec, self.model(job.spec)
        if not spec.method.needs_gradients:
            return attach(model, spec.method, spec.targets)
        model = model.to(hardware.own_device(job.device))
        return attach(model, spec.method, spec.targets, first_gradients(spec, self, model=model))

    def base(self, spec: RunSpec) -> nn.Module:
        """Return the base model to read from, never to change."""
        with torch.random.fork_rng(
            devices=[]
        ):  # whether a run finds it here or has to load it, its own draws are the same
            kept = self._models.get((*_base_of(spec), self.task(spec).num_labels), lambda: self._to_copy(spec))
        self._check_positions(kept, spec)
        return kept

    def _to_copy(self, spec: RunSpec) -> nn.Module:
        """Load a base model, and find out whether a copy's new head is what loading again would draw."""
        before = torch.get_rng_state()
        model = self._loaded(spec)
        after = torch.get_rng_state()
        torch.set_rng_state(before)
        copied = copy_with_new_head(model) if self.reuse else model
        alike = all(map(torch.equal, copied.state_dict().values(), model.state_dict().values()))
        model.vxlab_copies = alike and torch.equal(torch.get_rng_state(), after)  # type: ignore[assignment]
        return model

    def _loaded(self, spec: RunSpec) -> nn.Module:
        model = load_model(spec.model, self.task(spec).num_labels, spec.quantisation)
        self._check_positions(model, spec)
        return model

    def _check_positions(self, model: nn.Module, spec: RunSpec) -> None:
        if (kind := self.task(spec).kind).reads == "texts":
            _require_positions(model, spec, kind)

    def _check_tokens(self, model: nn.Module, spec: RunSpec) -> None:
        """Refuse a model that cannot read what its tokenizer wrote."""
        splits = self.splits(spec)
        largest = max(int(_tokens(split).max()) for split in splits.values())
        require_embedding(spec.model, model, self.tokenizer(spec), largest)
        if spec.packing:
            check_packing(spec.model, model.eval(), self.tokenizer(spec))
        if getattr(model.config, "is_encoder_decoder", False):
            _require_one_end(splits, self.tokenizer(spec))


class _Last(Generic[Kept]):
    """Keep the few things last asked for."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        if key not in self.kept:
            while len(self.kept) >= self.most:  # before making the next: two base models may not fit
                self.kept.popitem(last=False)
            self.kept[key] = make()
        self.kept.move_to_end(key)
        return self.kept[key]


_shared = Materials()


def shared_materials() -> Materials:
    """Return what the runs of a sweep share in this process: a worker loads its model once."""
    return _shared


def fresh_materials() -> Materials:
    """Forget what this process has loaded for sweeps: data and weights are then read as they are now."""
    global _shared
    _shared = Materials()
    return _shared


def _base_of(spec: RunSpec) -> tuple[str, str | None]:
    return spec.model, spec.quantisation


def _task_of(spec: RunSpec) -> tuple[Any, ...]:
    return (*(getattr(spec, field) for field in TASK_FIELDS), spec.max_new_tokens > 0)


def _require_positions(model: nn.Module, spec: RunSpec, kind: Kind) -> None:
    most = position_limit(model)
    if most is None and not kind.trains_head:
        config: Any = model.config
        most = getattr(config.get_text_config(), "max_position_embeddings", None)
    if most is None:
        return
    if spec.max_length > most:
        raise _too_long(spec, most)
    if kind.writes and spec.max_length + spec.max_new_tokens > most:
        raise VxlabError(
            f"max_length={spec.max_length} and max_new_tokens={spec.max_new_tokens}: {spec.model} has {most} "
            "positions for a prompt and what follows it; choose less of them"
        )


def _too_long(spec: RunSpec, most: int) -> VxlabError:
    return VxlabError(f"max_length={spec.max_length}: {spec.model} reads {most} tokens at most; choose 1 to {most}")


def _require_one_end(splits: dict[str, datasets.Dataset], tokenizer: Any) -> None:
    """Refuse a text that holds the token by whose last place BART and T5 find the end: all must hold it as often."""
    for name, split in splits.items():
        starts = np.concatenate([[0], np.cumsum(split.data.column("length").to_numpy())[:-1]])
        ends = np.add.reduceat(_tokens(split) == tokenizer.eos_token_id, starts, dtype=int)
        if len(other := np.flatnonzero(ends != np.median(ends))):
            raise VxlabError(
                f"row {other[0]} of the {name} split holds {tokenizer.eos_token!r} in its text, by which the model "
                "finds a text's end; take it out"
            )


def _tokens(split: datasets.Dataset) -> "np.ndarray[Any, Any]":
    """Return all token ids of a split in one, in the order of its file."""
    tokens: np.ndarray[Any, Any] = split.data.column("input_ids").combine_chunks().flatten().to_numpy()
    return tokens


def _encoded(task: Task, name: str, reader: Any, spec: RunSpec) -> datasets.Dataset:
    """Return inputs, labels and lengths; evaluation splits sorted by length, so that batches waste no padding."""
    columns = task.kind.encode(task.splits[name][:], reader, spec.form, name)
    encoded = datasets.Dataset.from_dict(columns)
    return encoded if name == "train" else encoded.select(np.argsort(columns["length"], kind="stable"))


def _require_own_kind(spec: RunSpec, kind: Kind) -> None:
    """Refuse images for a model of texts, and texts for one of images."""
    own = "images" if reads_images(spec.model) else "texts"
    if own != kind.reads:
        raise VxlabError(
            f"model={spec.model!r} reads {own}, and the task {spec.task} holds {kind.reads}; name a model of "
            f"{kind.reads}, such as {'dinov2s' if kind.reads == 'images' else 'minilm'}"
        )
