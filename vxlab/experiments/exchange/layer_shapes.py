"""The shapes of a base's linear layers, of its config alone."""

from pathlib import Path

import torch

from vxlab.adapters.core import Shape, is_linear, linear_shape
from vxlab.errors import VxlabError
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.models import model_from_config


def shapes_of_base(base: str, labels: int) -> dict[str, Shape]:
    """Return (out, in) of every linear layer by dotted name; empty where the config is not on this machine.

    Nothing is fetched for it.

    Args:
        base: as :func:`vxlab.load_model` takes it.
        labels: of its head, 0 of a model that writes.
    """
    here = {row["name"] for row in assets.status() if row["here"]}
    if base not in here and not Path(base).expanduser().is_dir():
        return {}
    try:
        with torch.device("meta"):
            model = model_from_config(base, labels)
    except VxlabError:
        return {}
    return {name: linear_shape(module) for name, module in model.named_modules() if is_linear(module)}
