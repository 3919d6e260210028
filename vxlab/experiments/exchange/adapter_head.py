"""How many labels an adapter's head has, of its tensors' shapes alone: with so many its base is loaded."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vxlab.adapters.saving import TENSORS_FILE
from vxlab.errors import VxlabError
from vxlab.experiments.models import label_weights
from vxlab.words import first_line

PEFT_TENSORS = "adapter_model.safetensors"


def count_labels(folder: Path, base: str) -> int:
    """Return the number of labels of the head that lies with an adapter, 0 where there is none: its model writes.

    Args:
        folder: of an adapter, vxlab's or PEFT's.
        base: the model's name, whose config says what its head is called.

    Raises:
        VxlabError: the tensors cannot be read, PEFT's settings say that there is a head, or there is no such model.
    """
    shapes = read_shapes(folder)
    heads = label_weights(base)
    for name in heads:
        for key, shape in shapes.items():
            if (key == name or key.endswith(f".{name}")) and len(shape) == 2:
                return shape[0]
    if _says_that_it_classifies(folder):
        raise VxlabError(
            f"{folder} is for classification and holds no head ({', '.join(heads) or 'none known'}); "
            "save it with its head, by modules_to_save, or load it in your own code onto the model that has one"
        )
    return 0


def read_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of an adapter's folder, by its key; no tensor is read.

    Raises:
        VxlabError: there is no such file, or it is damaged.
    """
    names = [name for name in (TENSORS_FILE, PEFT_TENSORS) if (folder / name).is_file()]
    if not names:
        raise VxlabError(f"{folder} holds no tensors ({TENSORS_FILE} or {PEFT_TENSORS}); save the adapter again")
    try:
        with safe_open(folder / names[0], "pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise VxlabError(f"{folder / names[0]} cannot be read ({first_line(error)}); save the adapter again") from error


def _says_that_it_classifies(folder: Path) -> bool:
    try:
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(settings, dict) and settings.get("task_type") == "SEQ_CLS"
