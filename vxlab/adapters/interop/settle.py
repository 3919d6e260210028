"""What is frozen in an adapter, where it takes its base to know it."""

from collections.abc import Mapping

from torch import nn

from vxlab.adapters.core import linear_shape
from vxlab.adapters.interop.lora_xs_bases import refuse_lost_r, settle_bases
from vxlab.adapters.interop.peft_vera import settle_projection
from vxlab.adapters.interop.saved import SavedAdapter


def settle_frozen(saved: SavedAdapter, layers: Mapping[str, nn.Module]) -> SavedAdapter:
    """Return an adapter whose method makes on these layers what the folder's own frozen tensors are.

    Args:
        saved: what was read.
        layers: of its base, by dotted name, all that it adapts.

    Raises:
        VxlabError: they are of another base, or say that a part of the adapter was lost.
    """
    if saved.kind == "lora-xs":
        return settle_bases(saved, layers)
    if saved.kind == "peft" and saved.method.endswith("lora"):
        refuse_lost_r(saved, layers)
    if saved.kind == "peft" and saved.method == "vera":
        return settle_projection(saved, {name: linear_shape(layer) for name, layer in layers.items()})
    return saved
