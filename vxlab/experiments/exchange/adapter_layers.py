"""The layers of a saved adapter, of its files: what is trained on each, and how large its update is."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from vxlab.adapters import SavedAdapter, read_saved
from vxlab.adapters.core import Shape
from vxlab.adapters.saving import SETTINGS_FILE, read_settings, read_tensors
from vxlab.analysis import Update
from vxlab.errors import VxlabError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["layer", "out", "in", "rank", "trained", "norm"]


def read_layers(folder: Path, shapes: Mapping[str, Shape]) -> "tuple[SavedAdapter | None, pd.DataFrame, str]":
    """Return an adapter, a row for each of its layers, and a note where the files do not tell all of them.

    Args:
        folder: of an adapter.
        shapes: (out, in) of its base's layers, where they are known.

    Raises:
        VxlabError: a file is damaged, or it is of no known kind.
    """
    import pandas as pd

    try:
        saved = read_saved(folder, shapes or None)
    except VxlabError as error:
        if not (folder / SETTINGS_FILE).is_file():
            raise
        settings = read_settings(folder)  # or they are damaged, and so the tensors
        read_tensors(folder, settings)
        rows = [(name, *shapes.get(name, (math.nan, math.nan)), *[math.nan] * 3) for name in settings["layers"]]
        return None, pd.DataFrame(rows, columns=COLUMNS), str(error)
    factors = _factors(saved, shapes)
    rows = [(name, *_describe(saved, name, factors.get(name), shapes.get(name))) for name in saved.layers]
    return saved, pd.DataFrame(rows, columns=COLUMNS), ""


def _factors(saved: SavedAdapter, shapes: Mapping[str, Shape]) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Return left and right of every layer's update; none where they follow from the base's weights, too."""
    try:
        return saved.factors(shapes or None)
    except VxlabError:
        return {}


def _describe(
    saved: SavedAdapter, layer: str, factors: tuple[Tensor, Tensor] | None, shape: Shape | None
) -> tuple[float, ...]:
    """Return out, in, rank, numbers that train, and ‖ΔW‖_F of a layer."""
    own = saved.tensors[layer]
    if factors is not None:
        shape = factors[0].shape[0], factors[1].shape[1]
    elif shape is None and "lambda_b" in own:
        shape = own["lambda_b"].numel(), math.nan  # type: ignore[assignment]
    rank = saved.ranks.get(layer, math.nan)
    return (*(shape or (math.nan, math.nan)), rank, sum(each.numel() for each in own.values()), _norm(factors))


def _norm(factors: tuple[Tensor, Tensor] | None) -> float:
    if factors is None or not all(bool(factor.isfinite().all()) for factor in factors):
        return math.nan
    return Update(*factors).norm()
