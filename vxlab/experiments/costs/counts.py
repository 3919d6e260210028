"""What each method would cost on the same layers: trained parameters and bytes to store."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from vxlab.adapters import Method, resolve_targets
from vxlab.adapters.placement import head_parameters, require_unattached
from vxlab.errors import VxlabError

if TYPE_CHECKING:
    import pandas as pd

BYTES = 4
"""Of one parameter stored in float32."""


def cost_table(
    model: nn.Module, methods: Mapping[str, Method], targets: str | Sequence[str] = "query-value"
) -> "pd.DataFrame":
    """Return what methods would train on a model, one row each, without training or attaching them.

    Columns: ``method`` (the name given), ``backbone`` and ``head`` (trained parameters), ``share`` (of the base
    model's parameters, both together) and ``bytes`` (of these in float32, what an adapter's file holds).

    Args:
        model: without adapters.
        methods: by the name to show; what cannot be attached (a rank that does not fit a layer, ``Head()`` where there
            is no task head, ``Probe()``) is left out.
        targets: as :func:`vxlab.attach` takes them.

    Raises:
        VxlabError: the model has adapters, or the targets are refused.
    """
    import pandas as pd

    require_unattached(model)
    total = sum(parameter.numel() for parameter in model.parameters())
    head = sum(parameter.numel() for parameter in head_parameters(model).values())
    layers = resolve_targets(model, targets)
    rows = []
    for name, method in methods.items():
        backbone = _backbone(method, model, layers)
        if backbone is not None:
            trained = backbone + head
            rows.append((name, backbone, head, trained / total, trained * BYTES))
    return pd.DataFrame(rows, columns=["method", "backbone", "head", "share", "bytes"])


def _backbone(method: Method, model: nn.Module, layers: Mapping[str, nn.Module]) -> int | None:
    try:
        return method.count(model, layers)
    except VxlabError:
        return None
