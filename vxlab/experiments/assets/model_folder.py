"""Write a model as the folder that transformers loads, the same bytes from the same content."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor


def write_model_folder(folder: Path, texts: Mapping[str, Mapping[str, Any]], weights: Mapping[str, Tensor]) -> None:
    """Write JSON files and model.safetensors into a folder that exists.

    Args:
        folder: where they are written.
        texts: what a file of JSON holds, by its name without the ending.
        weights: tensors by their names.

    Raises:
        OSError: the disk refuses.
    """
    for name, content in texts.items():
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / f"{name}.json").write_bytes(text.encode())
    # Bytes, so that a full disk raises OSError as everywhere; the library's own writer raises an error of its own.
    (folder / "model.safetensors").write_bytes(save(dict(weights), {"format": "pt"}))
