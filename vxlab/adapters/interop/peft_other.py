"""Every other method of the peft library as it saves it: to be held as peft's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vxlab.adapters.interop.keys import own_names, sort_tensors
from vxlab.adapters.interop.peft_files import CONFIG_FILE
from vxlab.adapters.interop.saved import SavedAdapter
from vxlab.adapters.peft import config_settings
from vxlab.errors import VxlabError


def read_other(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SavedAdapter:
    """Return an adapter of the peft library under the names that its tensors have there.

    Raises:
        VxlabError: peft is not installed, or the one here does not know the method or something that its config says.
    """
    method, settings = settings_there(folder, config)
    layers, shared, others, stored = sort_tensors(tensors, own_names(str(config["peft_type"])))
    return SavedAdapter(
        folder=folder,
        kind="peft",
        method=method,
        settings=settings,
        layers=tuple(layers),
        tensors=layers,
        shared=shared,
        others=others,
        stored=stored,
        base=config.get("base_model_name_or_path"),
        config=config,
    )


def settings_there(folder: Path, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and settings of the method of peft's that a config says.

    Raises:
        VxlabError: peft is not installed, or the one here does not know the method or something that its config says.
    """
    try:
        name, settings = config_settings(config)
    except VxlabError as error:
        raise VxlabError(f"{folder / CONFIG_FILE}: {error}") from error
    return f"peft:{name}", settings
