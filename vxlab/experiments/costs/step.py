"""What one training step costs: seconds, and bytes by what holds them."""

import os
import time
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._C._autograd import DeviceType
from torch._guards import detect_fake_mode
from torch.profiler import ProfilerActivity, profile

from vxlab.adapters.placement import head_parameters
from vxlab.checks import require_count
from vxlab.errors import VxlabError
from vxlab.experiments.costs.allocations import Allocations, storage_id
from vxlab.experiments.costs.weights import adapter_tensors, bytes_of, held_tensors


class StepMemory(NamedTuple):
    """Bytes that a training step holds at once, by what holds them."""

    weights: int
    """the model's own parameters and buffers, its head among them; quantised ones packed, with their scales"""
    adapter: int
    """the adapters' trained and frozen tensors; what layers share counts once"""
    gradients: int
    optimizer: int
    """the optimizer's state: for AdamW twice what trains"""
    activations: int
    """kept from the forward pass for the backward pass"""
    temporary: int
    """allocated at the step's peak beyond gradients and activations; 0 where the peak is reached without one of them"""
    peak: int
    """of everything together"""


Step = Callable[[], None]
_Loss = Callable[[nn.Module, Mapping[str, Tensor]], Tensor]


def random_batch(
    model: nn.Module, batch_size: int, tokens: int | None = None, seed: int = 0, *, resolution: int | None = None
) -> dict[str, Tensor]:
    """Return a batch of random inputs and labels on the model's device: whole texts without padding, or images.

    Texts are token ids ``(batch_size, tokens)``, images normal numbers ``(batch_size, 3, resolution, resolution)``.
    Labels are of a class; of a model without a task head, which writes, they are the tokens themselves.

    Args:
        model: from :func:`vxlab.load_model`, or as it builds one.
        batch_size: texts or images, 1 or more.
        tokens: of each text; a model of images has none.
        seed: of the numbers.
        resolution: pixels of a side of each image; a model of texts has none.

    Raises:
        VxlabError: the model reads neither, or not so many tokens; what it needs is not given; or a number is below 1.
    """
    require_count("batch_size", batch_size)
    random, device = torch.Generator().manual_seed(seed), next(model.parameters()).device
    classes = torch.zeros(batch_size, dtype=torch.long, device=device)
    if getattr(model, "main_input_name", "") == "pixel_values":
        if resolution is None:
            raise VxlabError(f"{type(model).__name__} reads images; give resolution, the pixels of a side, such as 224")
        require_count("resolution", resolution)
        images = torch.randn(batch_size, 3, resolution, resolution, generator=random).to(device)
        return {"pixel_values": images, "labels": classes}
    if resolution is not None:
        raise VxlabError(f"resolution={resolution}: {type(model).__name__} reads no images; give tokens")
    ids = _token_ids(model, batch_size, tokens, random).to(device)
    labels = classes if head_parameters(model) else ids
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def training_step(
    model: nn.Module,
    batch: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer | None,
    precision: str = "float32",
    loss: _Loss | None = None,
) -> Step:
    """Return a function that does one step: forward, backward and, with an optimizer, the update.

    Args:
        model: whatever of it requires a gradient gets one.
        batch: the model's keyword arguments; the loss is the model's where they hold labels.
        optimizer: None for forward and backward alone.
        precision: ``float32``, or ``bfloat16`` or ``float16`` by autocast (no loss scaling: it is timed, not trained).
        loss: as :func:`forward_loss` takes it.
    """

    def step() -> None:
        model.zero_grad(set_to_none=True)
        forward_loss(model, batch, precision, loss).backward()  # type: ignore[no-untyped-call]
        if optimizer is not None:
            optimizer.step()

    return step


def forward_loss(
    model: nn.Module, batch: Mapping[str, Tensor], precision: str = "float32", loss: _Loss | None = None
) -> Tensor:
    """Return the loss of one forward pass: the model's own, or the mean square of its logits without labels.

    Args:
        model, batch, precision: as :func:`training_step` takes them.
        loss: of a model and a batch, in the place of the model's own.
    """
    device, dtype = next(model.parameters()).device.type, getattr(torch, precision)
    with torch.autocast(device, dtype, enabled=precision != "float32"):
        if loss is not None:
            return loss(model, batch)
        output = model(**batch)
    own: Tensor = output.loss if "labels" in batch else output.logits.float().square().mean()
    return own


def time_call(step: Callable[[], object]) -> float:
    """Return the seconds that a call takes, from an idle GPU to one that is done; on a GPU, by its own clock."""
    if not torch.cuda.is_available():
        start = time.perf_counter()
        step()
        return time.perf_counter() - start
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    step()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000  # from milliseconds


def _token_ids(model: nn.Module, batch_size: int, tokens: int | None, random: torch.Generator) -> Tensor:
    if tokens is None:
        raise VxlabError(f"{type(model).__name__} reads texts; give tokens, the length of each, such as 128")
    require_count("tokens", tokens)
    config: Any = model.config
    vocabulary, limit = getattr(config, "vocab_size", None), getattr(config, "max_position_embeddings", tokens)
    if vocabulary is None:
        raise VxlabError(f"{type(model).__name__} has no vocabulary: step costs are of models of texts or images")
    if tokens > limit:
        raise VxlabError(f"tokens={tokens} is more than the {limit} positions of this model; choose 1-{limit}")
    return torch.randint(vocabulary, (batch_size, tokens), generator=random)


def kernels(step: Step) -> tuple[int, float]:
    """Return how many kernels a call starts on the GPU, and the seconds that they run; (0, 0.0) where none are seen.

    Copies and fills of memory do not count, nor do the spans that torch marks itself, such as an optimizer's step.
    """
    activity = ProfilerActivity.CUDA if torch.cuda.is_available() else ProfilerActivity.CPU
    found = [event for event in _profiler_events(step, activity) if _is_kernel(event)]
    return len(found), sum(event.duration_ns() for event in found) / 1e9


def saved_activation_bytes(model: nn.Module, forward: Callable[[], object]) -> int:
    """Return the bytes that a forward pass keeps for the backward pass.

    Every tensor that autograd saves is seen by a hook and counted by its storage, once, however many views of it are
    saved. The model's own parameters and buffers do not count: they are in memory anyway.
    """
    own = {storage_id(tensor) for tensor in held_tensors(model)}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if storage_id(tensor) not in own:
            kept[storage_id(tensor)] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # the tensor itself would hold the graph that holds it: the whole step would never go

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()  # held until the end, so that no storage is freed and another put in its place
    del output
    return sum(kept.values())


def step_memory(
    model: nn.Module,
    batch: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer | None,
    precision: str = "float32",
    loss: _Loss | None = None,
) -> StepMemory:
    """Measure what one step holds, by running two: the first makes the optimizer's state, the second is measured.

    An optimizer that has its state already needs the second alone.

    Activations are counted by saved-tensor hooks. The peak comes from torch's own count of what it allocated: on CUDA
    the allocator's, on a CPU the profiler's record of every allocation; of shapes alone every operation's results are
    counted.

    Args:
        model, batch, optimizer, precision, loss: as :func:`training_step` takes them.
    """
    step = training_step(model, batch, optimizer, precision, loss)
    if optimizer is None or not optimizer.state:
        step()
    activations = saved_activation_bytes(model, lambda: forward_loss(model, batch, precision, loss))
    model.zero_grad(set_to_none=True)
    peak = peak_bytes(step, next(model.parameters()).device)
    adapter = bytes_of(adapter_tensors(model))
    weights = bytes_of(held_tensors(model)) - adapter
    gradients = bytes_of(p.grad for p in model.parameters() if p.grad is not None)
    states = optimizer.state.values() if optimizer else ()
    state = bytes_of(value for each in states for value in each.values() if isinstance(value, Tensor))
    temporary = max(0, peak - activations - gradients)
    return StepMemory(weights, adapter, gradients, state, activations, temporary, weights + adapter + state + peak)


def peak_bytes(step: Step, device: torch.device) -> int:
    """Return the most bytes allocated at once during a step, beyond what was there before it."""
    if detect_fake_mode() is not None:  # of shapes alone: nothing is allocated but in name
        allocated = Allocations()
        with allocated:
            step()
        return allocated.peak
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    events = _profiler_events(step, ProfilerActivity.CPU, memory=True)
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    totals: list[int] = list(accumulate(nbytes for _, nbytes in changes))
    return max([0, *totals])


def _is_kernel(event: Any) -> bool:
    on_gpu: bool = event.device_type() == DeviceType.CUDA and not event.is_user_annotation()
    own: bool = event.name().startswith(("Memcpy", "Memset"))
    return on_gpu and not own


def _profiler_events(step: Step, activity: ProfilerActivity, memory: bool = False) -> list[Any]:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler writes lines of its own into the notebook
    with profile(activities=[activity], profile_memory=memory) as profiled:
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return list(profiled.profiler.kineto_results.events())
