"""Read an adapter's folder of any kind, without a model."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vxlab.adapters.core import Shape
from vxlab.adapters.interop.lora_xs_folder import is_lora_xs, read_lora_xs
from vxlab.adapters.interop.own_folder import read_own
from vxlab.adapters.interop.peft_config import check_config
from vxlab.adapters.interop.peft_files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    is_peft_folder,
    read_peft_config,
    read_peft_tensors,
)
from vxlab.adapters.interop.peft_lora import read_lora
from vxlab.adapters.interop.peft_other import read_other
from vxlab.adapters.interop.peft_vera import read_vera
from vxlab.adapters.interop.saved import SavedAdapter
from vxlab.checks import quote, settle
from vxlab.errors import VxlabError

Config = Mapping[str, Any]
Tensors = Mapping[str, Tensor]

_READERS: tuple[
    tuple[Callable[[Path, Config, Tensors], bool], Callable[[Path, Config, Tensors], SavedAdapter]], ...
] = (
    (is_lora_xs, read_lora_xs),
    (lambda folder, config, tensors: config["peft_type"] == "LORA", read_lora),
    (lambda folder, config, tensors: config["peft_type"] == "VERA", read_vera),
    (lambda folder, config, tensors: True, read_other),
)
"""What recognises a folder with a config of peft's, and reads it; the first that does."""


def read_saved(folder: str | os.PathLike[str], shapes: Mapping[str, Shape] | None = None) -> SavedAdapter:
    """Return what an adapter's folder holds: vxlab's own, the peft library's, or LoRA-XS's as released.

    Args:
        folder: with ``adapter.json`` or with ``adapter_config.json`` and the tensors beside it.
        shapes: (out, in) of the base's layers by dotted name: vxlab's files hold the tensors of one shape together, so
            that of layers of several shapes nothing else says whose they are.

    Raises:
        VxlabError: it holds none, or two; a file is damaged, a pickle or in parts; or config and tensors do not belong
            together.
    """
    folder = Path(settle("folder", folder, str))
    if not is_peft_folder(folder):
        return read_own(folder, shapes)
    config = check_config(folder, read_peft_config(folder))
    tensors = read_peft_tensors(folder)
    reader = next(read for recognises, read in _READERS if recognises(folder, config, tensors))
    saved = reader(folder, config, tensors)
    if not saved.layers:
        raise VxlabError(
            f"{folder / WEIGHTS_FILE} holds no tensor of peft_type {quote(config['peft_type'])}, which {CONFIG_FILE} "
            "names, on a layer; it belongs to another config, or changes no layer"
        )
    return saved
