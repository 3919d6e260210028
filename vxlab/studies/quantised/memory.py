"""What holds a model's bytes in each scheme: packed weights, their scales, what stays in floating point, and a step."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from vxlab.adapters import Method, attach, detach
from vxlab.adapters.core import is_linear, quantisation_of
from vxlab.adapters.placement import head_parameters
from vxlab.experiments import method_label
from vxlab.experiments.costs import random_batch, step_memory
from vxlab.experiments.models import load_model, unloaded_side
from vxlab.studies.quantised.sweeps import FLOAT

LINEAR, SCALES, EMBEDDINGS, HEAD, REST = "linear", "scales", "embeddings", "head", "rest"
HOLDERS = (LINEAR, SCALES, EMBEDDINGS, HEAD, REST)
"""What a model's bytes are in: the blocks' linear weights (packed, where they are quantised) and their scales; the
embeddings, with an output layer that is tied to them; the head or output layer; norms, biases and buffers."""
STEP = ("adapter", "gradients", "optimizer", "activations", "temporary", "peak")


def weight_bytes(model: nn.Module) -> dict[str, int]:
    """Return the bytes of a model's parameters, buffers and scales by what holds them, each storage counted once.

    Args:
        model: bare, quantised or not.
    """
    seen: set[int] = set()
    output = getattr(model, "get_output_embeddings", lambda: None)()
    embedded = [p for each in model.modules() if isinstance(each, nn.Embedding) for p in each.parameters()]
    told = {EMBEDDINGS: _count(embedded, seen)}
    last = [] if output is None else list(output.parameters())
    told[HEAD] = _count([*head_parameters(model).values(), *last], seen)
    layers = [each for each in model.modules() if is_linear(each) and id(each.weight) not in seen]
    packed, scales = zip(*map(_held, layers), strict=True) if layers else ((), ())
    told[LINEAR] = _count([tensor for each in packed for tensor in each], seen)
    told[SCALES] = _count([tensor for each in scales for tensor in each], seen)
    seen |= {id(each.weight) for each in layers}
    told[REST] = _count([*model.parameters(), *model.buffers()], seen)
    return {holder: told[holder] for holder in HOLDERS}


def memory_by_scheme(
    model: str, num_labels: int, schemes: Sequence[str], methods: Iterable[Method], targets: str | Sequence[str],
    *, batch_size: int, tokens: int, device: str = "cpu", precision: str = "float32",
) -> pd.DataFrame:  # fmt: skip
    """Measure what a training step of each method holds on each base.

    Columns: ``scheme``, ``candidate``; bytes of the base by :data:`HOLDERS`, and ``weights``, their sum; and of an
    AdamW step ``adapter``, ``gradients``, ``optimizer``, ``activations``, ``temporary`` and ``peak``, as
    :func:`vxlab.experiments.costs.step_memory` counts them, with the scales in the peak.

    Args:
        model: as :func:`vxlab.load_model` takes it.
        num_labels: likewise.
        schemes: ``float`` and others.
        methods: adapters.
        targets: as :func:`vxlab.attach` takes them.
        batch_size: texts of random tokens a step, or random images at the model's own resolution.
        tokens: of each text; a model of images has none.
        device: ``cpu``, ``cuda`` or ``mps``.
        precision: ``float32``, ``bfloat16`` or ``float16``.
    """
    rows = []
    for scheme in schemes:
        base = load_model(model, num_labels, None if scheme == FLOAT else scheme).to(device).train()
        batch = random_batch(base, batch_size, tokens, resolution=unloaded_side(model))
        held = weight_bytes(base)
        for method in methods:
            step = _step(base, method, targets, batch, precision)
            step["peak"] += held[SCALES]  # of no parameter and no buffer, so that the step's own count lacks them
            own = {"scheme": scheme, "candidate": method_label(method), **held, "weights": sum(held.values())}
            rows.append(own | {name: step[name] for name in STEP})
    return pd.DataFrame(rows)


def _step(
    base: nn.Module, method: Method, targets: str | Sequence[str], batch: Mapping[str, Tensor], precision: str
) -> dict[str, int]:
    with torch.random.fork_rng(devices=[]):
        attach(base, method, targets)
    try:
        # At learning rate 0 a step holds what any holds, and the head stays as it is for the next method.
        optimizer = torch.optim.AdamW([p for p in base.parameters() if p.requires_grad], lr=0.0)
        return step_memory(base, batch, optimizer, precision)._asdict()
    finally:
        base.zero_grad(set_to_none=True)
        detach(base)


def _held(layer: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Return the tensors of a linear layer's weight: those that hold its numbers, and those that scale them."""
    if quantisation_of(layer) is None:
        return [layer.weight], []
    weight = layer.weight
    if hasattr(weight, "__tensor_flatten__") and type(weight) is not nn.Parameter:
        inner = [getattr(weight, name) for name in weight.__tensor_flatten__()[0]]
        parts = [each for each in inner if isinstance(each, Tensor)]
        return parts[:1], parts[1:]
    states = (getattr(weight, "quant_state", None), getattr(weight, "SCB", None), getattr(layer, "state", None))
    return [weight], [scale for state in states for scale in _scales(state)]


def _scales(state: Any) -> Iterator[Tensor]:
    """Yield the tensors that a quantisation's state keeps, the state of quantised scales included."""
    if isinstance(state, Tensor):
        yield state
    elif state is not None:
        kept = vars(state)
        for name in ("absmax", "offset", "code", "SCB"):
            if isinstance(kept.get(name), Tensor):
                yield kept[name]
        yield from _scales(kept.get("state2"))


def _count(tensors: Iterable[Tensor], seen: set[int]) -> int:
    """Return the bytes of tensors that were not counted yet, and remember them and their storages."""
    total = 0
    for tensor in tensors:
        storage = tensor.untyped_storage()
        if id(tensor) not in seen and storage._cdata not in seen:
            total += storage.nbytes()
            seen.add(storage._cdata)
        seen.add(id(tensor))
    return total
