"""What training would hold in memory, and what it would store, of a model that is not loaded: from its config alone."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from vxlab.adapters import PEFT, Full, LoRAXS, Method, attach_layers, detach, resolve_targets, trainable_parameters
from vxlab.adapters.core import BASIS_NAMES, require_method
from vxlab.adapters.placement import stored_bases
from vxlab.checks import require_choice, require_count
from vxlab.errors import VxlabError
from vxlab.experiments.costs.counts import BYTES
from vxlab.experiments.costs.packed_shapes import pack_shapes
from vxlab.experiments.costs.step import random_batch, saved_activation_bytes, step_memory
from vxlab.experiments.models import QUANTISATIONS, model_from_config, position_limit, unloaded_side
from vxlab.experiments.tasks.kinds import keeps_some
from vxlab.words import first_line

if TYPE_CHECKING:
    import pandas as pd

_DEVICES = ("auto", "cuda", "cpu")
_PRECISIONS = ("float32", "bfloat16", "float16")
_NUMBERS = (
    "backbone", "head", "weights", "adapter", "gradients", "optimizer", "activations", "logits", "temporary", "peak",
    "stored",
)  # fmt: skip


def plan_memory(
    model: str,
    num_labels: int,
    methods: Mapping[str, Method],
    targets: str | Sequence[str] = "query-value",
    *,
    batch_size: int = 32,
    tokens: int = 128,
    resolution: int | None = None,
    precision: str = "float32",
    quantisation: str | None = None,
    gradient_checkpointing: bool = False,
    device: str = "auto",
    memory: int | None = None,
) -> "pd.DataFrame":
    """Reckon what a training step of each method holds, and what fits, from a model's config; no weights are read.

    A step (forward, backward, AdamW's update) runs on tensors that are shapes alone, and every allocation is counted
    as it comes and goes. So the parts are those that a step on the real model has, to the byte; the peak lacks what
    kernels take for themselves, the allocator's rounding, and what a GPU's context holds. Weights are in float32, as
    :func:`vxlab.load_model` loads them, and half precision is autocast's: it keeps rounded copies of frozen weights
    until the backward pass. Texts are as long as ``tokens`` says and padded (a batch without padding may keep less);
    a model that writes is trained on every token after a text's first. Time is not reckoned: multiplications
    over a machine's rate fall short by one half to several times. A timed step tells it, as in a sweep's plan.

    Columns: ``method`` (the name given); ``backbone`` and ``head``, parameters trained; in bytes ``weights``,
    ``adapter``, ``gradients``, ``optimizer``, ``activations`` (kept for the backward pass), ``logits`` (of these, what
    the output layer and the loss keep), ``temporary`` and ``peak``, as in a measured step; ``stored``, bytes of what is
    saved of it; ``fits``, whether the peak is within ``memory``, missing where that is unknown; and ``error``, empty
    but for what cannot be attached, for methods of the peft library, and for models whose steps go by values (DeBERTa,
    BART, T5): their numbers are missing.

    Args:
        model: as :func:`vxlab.load_model` takes it; of a folder or the hub config.json is read, and nothing else.
        num_labels: number of classes; 1 means regression, 0 a model that writes.
        methods: by the name to show.
        targets: as :func:`vxlab.attach` takes them.
        batch_size: texts or images at a time: of a step, or of each of its parts where gradients are accumulated.
        tokens: of each text; a model of images has none.
        resolution: pixels of a side of each image; None takes the model's own, which its preprocessor_config.json says.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        quantisation: of the backbone's linear layers, as :func:`vxlab.load_model` takes it. Their packed weights and
            scales are counted, one dequantised weight at a time, and for ``int8`` the inputs, which its layers keep.
        gradient_checkpointing: whether activations are computed again in the backward pass.
        device: ``cuda`` or ``cpu``, whose optimizers differ in what they need; ``auto`` takes a GPU where one is there.
        memory: bytes that there are; None takes what is free on this machine's GPU, if it has one.

    Raises:
        VxlabError: there is no such config, the targets match no layer, the model has not so many positions, a model
            of images lacks its image processor's file or reads no images of this resolution, or an argument is out of
            its range.
    """
    import pandas as pd

    for name, value, choices in (("precision", precision, _PRECISIONS), ("device", device, _DEVICES)):
        require_choice(name, value, choices)
    if quantisation is not None:
        require_choice("quantisation", quantisation, QUANTISATIONS)
    for method in methods.values():
        require_method(method)
    memory = free_memory() if memory is None else memory
    if memory is not None:
        require_count("memory", memory)
    side = unloaded_side(model, resolution)
    on_gpu = torch.cuda.is_available() if device == "auto" else device == "cuda"
    with torch.random.fork_rng(devices=[]), torch.device("meta"):  # where some models look at numbers of their own
        built: Any = model_from_config(model, num_labels)
    with torch.random.fork_rng(devices=[]), _quiet_torch(), FakeTensorMode(allow_non_fake_inputs=True):
        built.to_empty(device="cpu")
        built.tie_weights()
        batch = _batch(model, built, num_labels, batch_size, tokens, side)
        resolve_targets(built, targets)
        if gradient_checkpointing:
            _recompute(built)
        saved = 0 if quantisation is None else pack_shapes(built, quantisation)
        drawing = _Drawing(built, batch, num_labels == 0, targets, precision, on_gpu, saved)
        rows = [{"method": name, **drawing.row(method)} for name, method in methods.items()]
    table = pd.DataFrame(rows, columns=["method", *_NUMBERS, "error"]).astype(dict.fromkeys(_NUMBERS, "Int64"))
    fits = table["peak"] <= memory if memory is not None else pd.NA
    table.insert(len(table.columns) - 1, "fits", pd.Series(fits, table.index, dtype="boolean"))
    return table


def free_memory() -> int | None:
    """Return the bytes that are free on this machine's GPU; None where it has none."""
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Hold back the traceback that torch logs of an operation which a shape does not suffice for; it is raised, too."""
    log = logging.getLogger(fake_tensor.__name__)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


@dataclass(frozen=True)
class _Drawing:
    """A model of shapes alone, and the batch that each method is put to."""

    model: nn.Module
    batch: Mapping[str, Tensor]
    writes: bool
    targets: str | Sequence[str]
    precision: str
    on_gpu: bool
    saved: int = 0
    """bytes by which packed weights are smaller than those of the shapes"""

    def row(self, method: Method) -> dict[str, Any]:
        """Return what a method needs, or why it cannot be had."""
        if isinstance(method, PEFT):
            return {"error": f"{method} is put on by peft, which needs a model with values: measure it on a loaded one"}
        if self.saved and isinstance(method, Full):
            return {"error": "Full() trains every weight, and quantised ones cannot train"}
        try:
            with self._attached(method):
                return {**self._count(), **self._weigh(), "error": ""}
        except VxlabError as error:
            return {"error": first_line(error)}
        except (RuntimeError, NotImplementedError) as error:  # where something asks a shape for its values
            told = f"{type(self.model).__name__} takes no step on shapes alone ({first_line(error)})"
            return {"error": f"{told}; measure one on the loaded model"}

    @contextmanager
    def _attached(self, method: Method) -> Iterator[None]:
        layers = resolve_targets(self.model, self.targets) if method.on_layers else {}
        attach_layers(self.model, method, layers, _bases(method, layers))
        try:
            yield
        finally:
            self.model.zero_grad(set_to_none=True)
            detach(self.model)

    def _count(self) -> dict[str, int]:
        counts = trainable_parameters(self.model)
        kept = sum(basis.numel() for basis in stored_bases(self.model).values())
        stored = BYTES * (counts.backbone + counts.head + kept)
        return {"backbone": counts.backbone, "head": counts.head, "stored": stored}

    def _weigh(self) -> dict[str, int]:
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        # As torch chooses of itself on either device; on a GPU all tensors are updated at once, which takes more.
        optimizer = torch.optim.AdamW(trained, lr=1e-3, foreach=self.on_gpu)
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()  # makes its state, sooner than a whole step would
        loss = _answers_loss if self.writes else None
        step = step_memory(self.model, self.batch, optimizer, self.precision, loss)
        before = saved_activation_bytes(self.model, self._read) if self.writes else step.activations
        packed = {"weights": step.weights - self.saved, "peak": step.peak - self.saved}
        return {**step._asdict(), **packed, "logits": step.activations - before}

    def _read(self) -> object:
        """Read the batch without the output layer, and return what comes of it."""
        inputs = {name: tensor for name, tensor in self.batch.items() if name != "labels"}
        backbone: Any = self.model.base_model
        with torch.autocast("cpu", getattr(torch, self.precision), enabled=self.precision != "float32"):
            return backbone(**inputs, use_cache=False)


def _answers_loss(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the loss that a model which writes is trained by, where every token but a text's first is an answer's.

    :func:`~vxlab.experiments.tasks.kinds.answer_loss` itself looks at the labels for those, which are shapes here.
    """
    inputs: dict[str, Any] = {name: tensor for name, tensor in batch.items() if name != "labels"}
    following = batch["labels"][:, 1:]
    rows, columns = (each.flatten() for each in torch.meshgrid(*map(torch.arange, following.shape), indexing="ij"))
    if keeps_some(model):
        logits = model(**inputs, use_cache=False, logits_to_keep=torch.arange(following.shape[1])).logits
    else:
        logits = model(**inputs, use_cache=False).logits[:, :-1]
    chosen = logits[rows, columns].float()
    return nn.functional.cross_entropy(chosen, following[rows, columns], reduction="sum") / len(chosen)


def _batch(
    name: str, model: nn.Module, num_labels: int, batch_size: int, tokens: int, side: int | None
) -> dict[str, Tensor]:
    if side is not None:
        return random_batch(model, batch_size, resolution=side)
    batch = random_batch(model, batch_size, tokens)
    if (most := position_limit(model)) is not None and tokens > most:
        raise VxlabError(f"tokens={tokens} is more than the {most} positions of model={name!r}; choose 1-{most}")
    if num_labels == 0 and tokens < 2:
        raise VxlabError(f"tokens={tokens} leaves a model that writes nothing to learn; choose 2 or more")
    return batch


def _recompute(model: Any) -> None:
    if not model.supports_gradient_checkpointing:
        raise VxlabError(f"gradient_checkpointing=True: {type(model).__name__} has none; leave it out")
    model.activation_checkpointing_enable()


def _bases(method: Method, layers: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]] | None:
    """Return the shapes of bases that come from values, which are not there; None where a method makes its own."""
    if not isinstance(method, LoRAXS):
        return None
    shapes = method.checked_shapes(layers)
    sizes = {name: ((out, method.at(name).r), (method.at(name).r, inner)) for name, (out, inner) in shapes.items()}
    return {name: dict(zip(BASIS_NAMES, map(torch.empty, pair), strict=True)) for name, pair in sizes.items()}
