"""The shapes of a base's linear layers, of its config alone."""

import contextlib
from pathlib import Path

import torch

from vxlab.adapters.core import Shape, is_linear, linear_shape
from vxlab.errors import VxlabError
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.models import model_from_config


def shapes_of_base(base: str, labels: int | None) -> dict[str, Shape]:
    """Return (out, in) of every linear layer by dotted name; empty where the config is not on this machine.

    Nothing is fetched for it.

    Args:
        base: as :func:`vxlab.load_model` takes it.
        labels: of its head, 0 of a model that writes; None where it is not known which.
    """
    here = {row["name"] for row in assets.status() if row["here"]}
    if base not in here and not Path(base).expanduser().is_dir():
        return {}
    for kind in (2, 0) if labels is None else (labels,):
        with contextlib.suppress(VxlabError), torch.device("meta"):  # transformers has not every model for every task
            model = model_from_config(base, kind)
            return {name: linear_shape(module) for name, module in model.named_modules() if is_linear(module)}
    return {}
