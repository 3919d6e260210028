"""What every method costs at every rank, measured on one model: time, memory, parameters, bytes on disk and start."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vxlab.adapters import Full, Head, Method, attach, detach, resolve_targets, save_adapter, trainable_parameters
from vxlab.adapters.core import Family
from vxlab.adapters.placement import require_unattached
from vxlab.checks import require_count
from vxlab.errors import VxlabError
from vxlab.experiments import family_name, has_ranks_by_layer
from vxlab.experiments.costs.step import StepMemory, step_memory, time_call, training_step
from vxlab.experiments.scoring import of_median
from vxlab.progress import progress_bar
from vxlab.words import first_line

if TYPE_CHECKING:
    import pandas as pd

FROZEN, HEAD, FULL = "frozen model", "head only", "full fine-tuning"
"""The rows that have no rank. Of the frozen model nothing trains, but its gradient flows down to the embeddings: the
forward and backward pass that every adapter needs, and so the least a step can take. Of images it flows down to the
convolution that makes patches."""


def rank_costs(
    model: nn.Module,
    families: Sequence[Family],
    batch: Mapping[str, Tensor],
    targets: str | Sequence[str] = "all-linear",
    *,
    rounds: int = 9,
    precision: str = "float32",
    progress: bool = True,
) -> "pd.DataFrame":
    """Measure training steps of adapters, of the frozen model, the head alone and full fine-tuning, on one model.

    Each round visits all of them in turn, every other round backwards: attach, one step to warm up, one timed step,
    detach. So a slow moment of the machine touches all alike, and memory holds one model. Steps are AdamW's at
    learning rate 0, which takes the same time and leaves the weights as they are; dropout is on, as in training.

    Columns: ``method``, ``rank`` (missing where there is none), ``label``; ``seconds`` of the timed steps in round
    order, and of their ratios to the frozen model's in the same rounds ``ratio`` (the median), ``ratio_low`` and
    ``ratio_high`` (its 95 % interval by the sign test, missing below six rounds); ``step_seconds`` (the median);
    ``attach_seconds`` the first time (for LoRA-XS with an empty cache of decompositions) and ``attach_again_seconds``
    (the median of the later times, from the cache); ``parameters`` trained in the backbone, and ``bytes`` on disk of a
    saved adapter with its head and settings; the fields of :class:`StepMemory`; and ``error``, empty but for what could
    not be measured, whose numbers are missing.

    Args:
        model: bare, on its device; as it was afterwards.
        families: adapters, by method and rank as they are to be shown, each at one rank. A rank that does not fit the
            model, or a step that runs out of memory, leaves a row with its error.
        batch: the model's keyword arguments, such as ``random_batch`` returns.
        targets: as :func:`vxlab.attach` takes them.
        rounds: timed steps of each, 1 or more; with six or more the medians have intervals.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        progress: show a bar.

    Raises:
        VxlabError: the model has a method attached, the targets match no layer, a family has ranks by layer, rounds is
            below 1, or the frozen model's own step fails.
    """
    import pandas as pd

    require_unattached(model)
    require_count("rounds", rounds)
    if several := next((family for family in families if has_ranks_by_layer(family)), None):
        raise VxlabError(f"families holds {several}, which has ranks by layer, and the table is by rank; give one rank")
    resolve_targets(model, targets)
    candidates = [_Candidate(method) for method in (None, Head(), *families, Full())]
    bar = progress_bar(len(candidates) * (rounds + 1), "measuring", "visit", shown=progress)
    with tempfile.TemporaryDirectory() as scratch, _as_trained(model), bar:
        bench = _Bench(model, batch, targets, precision, Path(scratch))
        _visit_all(candidates, bench.weigh, bar)
        for number in range(rounds):
            _visit_all(candidates[:: -1 if number % 2 else 1], bench.time, bar)
    frozen = candidates[0].seconds
    return pd.DataFrame([_row(each, frozen) for each in candidates]).astype({"rank": "Int64"})


@dataclass
class _Candidate:
    """A method, and what has been measured of it."""

    method: Method | None
    attaching: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    memory: StepMemory | None = None
    parameters: int = 0
    bytes: int = 0
    error: str = ""

    @property
    def name(self) -> str:
        return family_name(self.method) if self.method else FROZEN

    @property
    def rank(self) -> int | None:
        return getattr(self.method, "rank", None)

    @property
    def label(self) -> str:
        return f"{self.name} r={self.rank}" if self.rank else self.name


@dataclass(frozen=True)
class _Bench:
    """The one model on which all are measured."""

    model: nn.Module
    batch: Mapping[str, Tensor]
    targets: str | Sequence[str]
    precision: str
    scratch: Path

    def weigh(self, candidate: _Candidate) -> None:
        """Measure what needs no repetition: memory, parameters and bytes on disk."""
        with self._attached(candidate) as optimizer:
            candidate.memory = step_memory(self.model, self.batch, optimizer, self.precision)
            candidate.parameters = trainable_parameters(self.model).backbone
            candidate.bytes = self._bytes_on_disk() if candidate.method else 0

    def time(self, candidate: _Candidate) -> None:
        with self._attached(candidate) as optimizer:
            step = training_step(self.model, self.batch, optimizer, self.precision)
            step()  # makes the optimizer's state
            candidate.seconds.append(time_call(step))

    @contextmanager
    def _attached(self, candidate: _Candidate) -> Iterator[torch.optim.Optimizer | None]:
        if candidate.method is None:
            with _frozen(self.model):
                yield None
            return
        method = candidate.method
        with _spectra_in(self.scratch / str(id(candidate))):  # two candidates may have one label
            candidate.attaching.append(time_call(lambda: attach(self.model, method, self.targets)))
        try:
            # At learning rate 0 a step takes as long as any, and full fine-tuning leaves the weights to the others.
            yield torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], lr=0.0)
        finally:
            self.model.zero_grad(set_to_none=True)
            detach(self.model)

    def _bytes_on_disk(self) -> int:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            saved = save_adapter(self.model, Path(folder) / "adapter")
            return sum(path.stat().st_size for path in saved.iterdir())


def _visit_all(candidates: Sequence[_Candidate], visit: Callable[[_Candidate], None], bar: Any) -> None:
    for candidate in candidates:
        if not candidate.error:
            _visit(candidate, visit)
        bar.update()


def _visit(candidate: _Candidate, visit: Callable[[_Candidate], None]) -> None:
    try:
        visit(candidate)
    except (RuntimeError, MemoryError, OSError, VxlabError) as error:
        reason = first_line(error)
        if candidate.method is None:
            raise VxlabError(
                f"the frozen model's own step fails, so there is nothing to compare with: {reason}"
            ) from error
        candidate.error = reason
    if candidate.error and torch.cuda.is_available():
        torch.cuda.empty_cache()  # only now: the exception held the failed step's tensors


def _row(candidate: _Candidate, frozen: Sequence[float]) -> dict[str, object]:
    row: dict[str, object] = {"method": candidate.name, "rank": candidate.rank, "label": candidate.label}
    if candidate.error or candidate.memory is None:
        return row | {"seconds": (), "error": candidate.error}
    median, low, high = of_median(np.divide(candidate.seconds, frozen))[:3]
    first, *later = candidate.attaching or [math.nan]
    return row | {
        "seconds": tuple(candidate.seconds),
        "step_seconds": float(np.median(candidate.seconds)),
        "ratio": median,
        "ratio_low": low,
        "ratio_high": high,
        "attach_seconds": first,
        "attach_again_seconds": float(np.median(later)) if later else math.nan,
        "parameters": candidate.parameters,
        "bytes": candidate.bytes,
        **candidate.memory._asdict(),
        "error": "",
    }


@contextmanager
def _as_trained(model: nn.Module) -> Iterator[None]:
    """Put the model into training mode, and put that and torch's generator back afterwards."""
    training, device = model.training, next(model.parameters()).device
    # Named, for torch warns where it has to guess among several GPUs.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        model.train()
        try:
            yield
        finally:
            model.train(training)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Freeze every parameter, and let gradients flow from the loss down to the entrance's output all the same."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    hook = _entrance(model).register_forward_hook(lambda module, inputs, output: output.requires_grad_())
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        hook.remove()
        for parameter in trained:
            parameter.requires_grad_(True)


def _entrance(model: Any) -> nn.Module:
    """Return what first makes numbers that a gradient reaches: the embeddings of tokens, or of images a convolution."""
    if getattr(model, "main_input_name", "") != "pixel_values":
        embeddings: nn.Module = model.get_input_embeddings()
        return embeddings
    found = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if found is None:
        raise VxlabError(f"{type(model).__name__} reads images and has no convolution that makes patches of them")
    return found


@contextmanager
def _spectra_in(folder: Path) -> Iterator[None]:
    """Keep decompositions in a folder of this measurement's own: empty at first, then a cache."""
    before = os.environ.get("VXLAB_SPECTRA")
    os.environ["VXLAB_SPECTRA"] = str(folder)
    try:
        yield
    finally:
        del os.environ["VXLAB_SPECTRA"]
        if before is not None:
            os.environ["VXLAB_SPECTRA"] = before
