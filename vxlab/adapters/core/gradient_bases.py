"""The bases of an adapter that starts from the gradients of the weights, and not from the weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vxlab.adapters.core.family import Family, Method
from vxlab.adapters.core.frozen_weight import Shape, linear_weight
from vxlab.errors import VxlabError

BASIS_NAMES = ("left_basis", "right_basis")
"""Of the tensors that are saved with such an adapter, by layer."""

_HOW = "pass attach(..., gradients=weight_gradients(model, batches, layers)) from vxlab.experiments.runs.gradients"


def bases_from_gradients(
    method: Method, layers: Mapping[str, nn.Module], gradients: Mapping[str, Tensor] | None
) -> dict[str, dict[str, Tensor]] | None:
    """Return every layer's frozen tensors by name, or None where the method starts from no gradients.

    Args:
        method: what is about to be attached.
        layers: the target layers by dotted name.
        gradients: of the loss for each layer's W, ``(out, in)``; others in it are left alone.

    Raises:
        VxlabError: gradients are needed and not given, or the other way round; one is missing, of another shape, zero
            throughout or not finite; or a layer cannot be adapted.
    """
    if not method.needs_gradients or not isinstance(method, Family):
        if gradients is not None:
            raise VxlabError(f"gradients were given, but {method} starts from none; leave them out")
        return None
    if gradients is None:
        raise VxlabError(f"{method} starts from the gradients of its target layers, and none were given; {_HOW}")
    for layer, shape in method.checked_shapes(layers).items():
        _check(gradients.get(layer), layer, shape)
    weights = {layer: linear_weight(module) for layer, module in layers.items()}
    # As they are read back from a file: another memory layout would make products differ in their last bits.
    return {
        layer: {name: tensor.contiguous() for name, tensor in found.items()}
        for family, group in method.by_rank(weights)
        for layer, found in family.frozen(group, gradients).items()
    }


def _check(gradient: Tensor | None, layer: str, shape: Shape) -> None:
    if gradient is None:
        raise VxlabError(f"gradients has none of `{layer}`, a target layer; {_HOW}")
    if tuple(gradient.shape) != shape:
        raise VxlabError(f"the gradient of `{layer}` is {tuple(gradient.shape)}; its weight is (out, in) = {shape}")
    if not bool(torch.isfinite(gradient).all()):
        raise VxlabError(f"the gradient of `{layer}` holds NaN or infinite values; take it from sound weights and data")
    if not bool(gradient.any()):
        raise VxlabError(
            f"the gradient of `{layer}` is zero throughout, so it has no directions to start from: the loss does not "
            "depend on this layer; leave it out of the targets"
        )
