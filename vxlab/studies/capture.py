"""What share of the full gradient each method can follow at the start of training, layer by layer."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from vxlab.adapters import Family, LiDB, LoRA, LoRAXS, Method, VeRA, resolve_targets
from vxlab.adapters.core import Shape, linear_weight
from vxlab.analysis import best_captures, bootstrap_interval, captured_share, lora_capture, vera_capture
from vxlab.errors import VxlabError
from vxlab.experiments import family_name, ranks_in_words, tell_apart
from vxlab.experiments.runs import blocks_and_roles
from vxlab.words import nearest

CAPTURE_COLUMNS = [
    "layer", "block", "role", "method", "family", "rank", "parameters", "share", "low", "high", "best", "chance",
]  # fmt: skip

Gradients = Mapping[str, Tensor]
"""G = ∂loss/∂W ``(out, in)`` by layer, as ``weight_gradients`` returns it."""


def capture_table(
    model: nn.Module,
    gradients: Gradients | Sequence[Gradients],
    methods: Sequence[Method],
    targets: str | Sequence[str] = "query-value",
    seed: int = 0,
    start: Gradients | None = None,
) -> pd.DataFrame:
    """Tabulate the share of the full gradient's energy in each method's tangent space before the first step.

    The tangent space is what the trained tensors can do to ΔW to first order from where they start: LoRA's B, for A's
    gradient is 0; VeRA's b, for d's is; LoRA-XS's R; LiDB's A, for its B's is.

    Args:
        model: the bare base model; left as it is.
        gradients: of the target layers, others are left alone; or a sequence of these, one a batch, for an interval
            over batches.
        methods: settings of LoRA, VeRA, LoRA-XS or LiDB, each at its rank or ranks by layer.
            ``LoRAXS(basis="gradient")`` takes its bases from ``start``.
        targets: as in :func:`vxlab.attach`.
        seed: of the initial values that are drawn.
        start: the gradients from which such methods take their bases; None takes the first batch's, and judges these
            methods on the others, where there are others.

    Returns:
        One row a layer and method: ``layer, block, role``; ``family``, with the settings beside the rank in which the
        methods of one family differ, such as ``LoRA-XS basis=bottom``; ``method``, the same with its rank; the layer's
        ``rank`` and trained ``parameters``; ``share``, the mean over batches, with the 95 % interval ``low`` to
        ``high`` (NaN for one batch); ``best``, the mean share of G's own first r singular triplets, which no update of
        rank r exceeds; ``chance``, what a gradient that has nothing to do with the tangent space keeps on average: the
        space's dimensions over out·in. Batches whose gradient is zero are left out; NaN where all are.

    Raises:
        VxlabError: there is no method or gradient, a method is of no such family or cannot adapt a layer, or a
            layer's gradient is missing, of another shape or not finite.

    Source: Bałazy et al., LoRA-XS (2024), arXiv 2405.17604, theorem 3.1, for orthonormal bases; here by layer, for
    every family.
    """
    batches = [gradients] if isinstance(gradients, Mapping) else list(gradients)
    layers = resolve_targets(model, targets)
    weights = {name: linear_weight(layer) for name, layer in layers.items()}
    families = _known(methods)
    _check(batches if start is None else [*batches, start], weights)
    bests = {name: torch.stack([best_captures(batch[name]) for batch in batches]) for name in weights}
    named, places = _names(families), blocks_and_roles(layers)
    rows = []
    for method in families:
        starts = _starts(method, layers, weights, batches[0] if start is None else start, seed)
        seen = method.needs_gradients and start is None and len(batches) > 1
        judged = slice(1, None) if seen else slice(None)
        for layer, tensors in starts.items():
            own = [batch[layer] for batch in batches[judged]]
            best = bests[layer][judged, min(method.at(layer).r, *tensors.shape) - 1].nanmean()
            rows.append(
                _row(layer, *places[layer], method.at(layer), tensors, own) | {"best": float(best), **named[method]}
            )
    return pd.DataFrame(rows, columns=CAPTURE_COLUMNS)


class _Start(NamedTuple):
    """A layer's shape and all of its adapter's tensors before training."""

    shape: Shape
    tensors: dict[str, Tensor]


def _starts(
    method: Family, layers: Mapping[str, nn.Module], weights: Gradients, gradients: Gradients, seed: int
) -> dict[str, _Start]:
    shapes = method.checked_shapes(layers)
    frozen: dict[str, dict[str, Tensor]] = {}
    for family, group in method.by_rank(shapes):
        shared = family.shared(list(group.values()))
        own = family.frozen({layer: weights[layer] for layer in group}, gradients)
        frozen |= {layer: {**shared, **own[layer]} for layer in group}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the GPU's generators are not forked
        trained = {layer: method.at(layer).trained(shape) for layer, shape in shapes.items()}
    return {layer: _Start(shape, frozen[layer] | trained[layer]) for layer, shape in shapes.items()}


def _row(
    layer: str, block: int, role: str, method: Family, start: _Start, gradients: Sequence[Tensor]
) -> dict[str, object]:
    out_features, in_features = start.shape
    dimensions, share = _TANGENTS[type(method)]
    mean, low, high = bootstrap_interval([share(method, each, start) for each in gradients])
    return {
        "layer": layer, "block": block, "role": role, "rank": method.r, "share": mean, "low": low, "high": high,
        "parameters": method.parameter_count(start.shape),
        "chance": dimensions(method, start.shape) / (out_features * in_features),
    }  # fmt: skip


def _names(methods: Sequence[Family]) -> dict[Family, dict[str, str]]:
    """Return each method's ``family``, with the settings beside the rank in which its family's methods differ."""
    names = {}
    for method in methods:
        own = tell_apart(each.settings() for each in methods if family_name(each) == family_name(method))
        apart = [f"{name}={value}" for name, value in method.settings().items() if name in own and name != "rank"]
        plain = family_name({"name": method.name, **method.settings(), "rank": None})
        family, named = (" ".join([name, *apart]) for name in (family_name(method), plain))
        names[method] = {"family": family, "method": f"{named} {ranks_in_words(method.rank)}"}
    return names


def _vera_share(method: VeRA, gradient: Tensor, start: _Start) -> float:
    out_features, in_features = start.shape
    tensors = start.tensors
    A, B = tensors["A"][:, :in_features], tensors["B"][:out_features]
    b = tensors.get("lambda_b", torch.ones(out_features))
    d = tensors.get("lambda_d", torch.ones(method.r))
    return vera_capture(gradient, A, B, b, d, method.vectors)


def _lidb_share(method: LiDB, gradient: Tensor, start: _Start) -> float:
    tensors = start.tensors
    return captured_share(gradient, tensors["left_basis"], tensors["B"].double() @ tensors["right_basis"].double())


_Dimensions = Callable[..., int]
_Share = Callable[..., float]
_TANGENTS: dict[type[Family], tuple[_Dimensions, _Share]] = {
    LoRA: (
        lambda method, shape: shape[0] * min(method.r, shape[1]),
        lambda method, gradient, start: lora_capture(gradient, start.tensors["A"]),
    ),
    VeRA: (lambda method, shape: method.r if method.vectors == "d" else shape[0], _vera_share),
    LoRAXS: (
        lambda method, shape: method.r**2,
        lambda method, gradient, start: captured_share(
            gradient, start.tensors["left_basis"], start.tensors["right_basis"]
        ),
    ),
    LiDB: (lambda method, shape: method.aux_out * method.r, _lidb_share),
}
"""Of each family, the dimensions of its tangent space before training, and the share of a gradient in it."""


def _known(methods: Sequence[Method]) -> list[Family]:
    if not methods:
        raise VxlabError("methods is empty; give one family's settings or more, such as vxlab.LoRA(rank=8)")
    known = ", ".join(family.__name__ for family in _TANGENTS)
    for method in methods:
        if type(method) not in _TANGENTS:
            raise VxlabError(f"methods holds {method!r}, whose tangent space is not known here; choose among {known}")
    return [method for method in methods if isinstance(method, Family)]


def _check(batches: Sequence[Gradients], weights: Gradients) -> None:
    if not batches:
        raise VxlabError("gradients is empty; give those of one batch or more, from weight_gradients")
    for batch in batches:
        for layer, weight in weights.items():
            if layer not in batch:
                raise VxlabError(f"gradients has none of `{layer}`, a target layer{nearest(layer, list(batch))}")
            if batch[layer].shape != weight.shape:
                found, wanted = tuple(batch[layer].shape), tuple(weight.shape)
                raise VxlabError(f"the gradient of `{layer}` is {found}; its weight is (out, in) = {wanted}")
            if not bool(batch[layer].isfinite().all()):
                raise VxlabError(f"the gradient of `{layer}` holds NaN or infinite values; leave its batch out")
