"""Which layers an adapter can take the place of: y = x·Wᵀ + bias, W in floating point or quantised, and no more."""

from typing import Any

from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.utils.parametrize import is_parametrized

from vxlab.adapters.core.quantisation import has_guard, quantisation_of


def is_linear(module: nn.Module) -> bool:
    """Tell whether an adapter can wrap this layer: y = x·Wᵀ + bias, W in floating point or quantised, and nothing else.

    That is torch.nn.Linear itself, W being (out, in), transformers' Conv1D, which stores W as (in, out), and the
    quantised layers that :func:`vxlab.adapters.core.quantisation_of` knows. Other subclasses of Linear compute
    something of their own, so they do not count; nor does a layer to which something was added
    (:func:`why_not_plain`), hooks apart.

    >>> is_linear(nn.Linear(4, 2)), is_linear(nn.Embedding(4, 2))
    (True, False)
    """
    quantised = quantisation_of(module)
    if (not quantised and type(module) is not nn.Linear and not is_conv1d(module)) or why_not_plain(module):
        return False
    if quantised:
        return True
    weight: Any = module.weight
    # Quantised weights hide in subclasses of Parameter or in one-byte floats; a shape alone is FakeTensor's.
    plain = type(weight) is nn.Parameter or isinstance(weight, FakeTensor)
    return plain and weight.is_floating_point() and weight.element_size() > 1


def is_conv1d(module: nn.Module) -> bool:
    """Tell transformers' Conv1D, which GPT-2 has for its linear layers."""
    weight = getattr(module, "weight", None)
    if type(module).__name__ != "Conv1D" or not isinstance(weight, nn.Parameter) or weight.dim() != 2:
        return False
    return bool(weight.shape[1] == getattr(module, "nf", None))


def why_not_plain(module: nn.Module) -> str:
    """Return what was added to a layer that an adapter in its place would lose, with what to do; "" where nothing was.

    >>> why_not_plain(nn.Linear(4, 2))
    ''
    >>> why_not_plain(nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)))[:41]
    'its weight or bias is computed from other'
    """
    if not (isinstance(module, nn.Linear) or is_conv1d(module)):
        return ""
    own = {name for name, _ in module.named_parameters(recurse=False)}
    computed = {name for name in ("weight", "bias") if getattr(module, name, None) is not None} - own
    if computed or is_parametrized(module):
        return (
            "its weight or bias is computed from other tensors (weight_norm, pruning, a parametrisation); make it a "
            "plain parameter first, such as by prune.remove or parametrize.remove_parametrizations"
        )
    added = sorted(own - {"weight", "bias"}) + [name for name, _ in (*module.named_buffers(), *module.named_children())]
    if added:
        return f"it holds {added[0]!r} beside its weight and bias, which an adapter in its place would lose; remove it"
    # What accelerate puts on a layer to move its input is on the block too; what it loads weights by is not.
    hook = vars(module).get("_hf_hook")
    if "forward" in vars(module) and not has_guard(module) and (hook is None or getattr(hook, "offload", True)):
        return "its forward was replaced on this one layer (by offloading, for example); take that off first"
    return ""
