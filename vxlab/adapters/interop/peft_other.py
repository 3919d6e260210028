"""Every other method of the peft library as it saves it: to be held as peft's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vxlab.adapters.interop.keys import own_names, sort_tensors
from vxlab.adapters.interop.saved import SavedAdapter


def read_other(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SavedAdapter:
    """Return an adapter of the peft library under the names that its tensors have there."""
    kind = str(config["peft_type"])
    layers, shared, others, stored = sort_tensors(tensors, own_names(kind))
    return SavedAdapter(
        folder=folder,
        kind="peft",
        method=f"peft:{kind.lower()}",
        settings={},
        layers=tuple(layers),
        tensors=layers,
        shared=shared,
        others=others,
        stored=stored,
        base=config.get("base_model_name_or_path"),
        config=config,
    )
