"""The two files of an adapter's folder of the peft library: read with every danger refused, and written whole."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vxlab.adapters.saving import SETTINGS_FILE
from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.files import write_whole
from vxlab.words import first_line

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"


def is_peft_folder(folder: Path) -> bool:
    """Tell a folder that an adapter of the peft library, or one of vxlab's own, should be read from.

    A folder of adapters in subfolders is peft's too, so that reading it says so.

    Raises:
        VxlabError: it holds an adapter of both kinds.
    """
    own, theirs = (folder / SETTINGS_FILE).exists(), (folder / CONFIG_FILE).exists()
    if own and theirs:
        raise VxlabError(
            f"{folder} holds two adapters, vxlab's {SETTINGS_FILE} and peft's {CONFIG_FILE}; move one to another folder"
        )
    return theirs or (not own and bool(_weights_in(folder) or _adapters_below(folder)))


def read_peft_config(folder: Path) -> dict[str, Any]:
    """Return what a folder's config file holds.

    Raises:
        VxlabError: there is none, it is damaged, or it names no method.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise VxlabError(_why_no_config(folder)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise VxlabError(f"{path} is damaged: {first_line(error)}; get the folder again") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise VxlabError(f"{path} names no method (peft_type); it is no adapter of the peft library")
    return config


def read_peft_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder, all of them finite.

    Raises:
        VxlabError: there are none, they are a pickle or in shards, or the file is damaged.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise VxlabError(_why_no_weights(folder))
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise VxlabError(f"{path} is cut short or damaged: {first_line(error)}; get the folder again") from error
    if not tensors:
        raise VxlabError(f"{path} holds no tensor; save the adapter again")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue  # indices, which some methods have
        if not bool(tensor.float().isfinite().all()):  # floats of one byte know no isfinite
            raise VxlabError(f"{path}: {quote(name)} holds NaN or infinite values, so every output would; train again")
    return tensors


def write_peft_files(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write an adapter's two files; an earlier adapter of the peft library there is replaced, and all else there stays.

    Raises:
        VxlabError: the folder cannot be written, or holds an adapter of vxlab's own.
    """
    if (folder / SETTINGS_FILE).exists():
        raise VxlabError(f"{folder} holds an adapter of vxlab's own; give another folder")
    if folder.exists() and not folder.is_dir():
        raise VxlabError(f"{folder} is a file; give a folder")
    try:
        with write_whole(folder / WEIGHTS_FILE) as new, write_whole(folder / CONFIG_FILE) as settings:
            save_file(dict(tensors), new, metadata={"format": "pt"})
            settings.write_text(json.dumps(dict(config), indent=2, sort_keys=True) + "\n", encoding="utf-8")
            # Cut short from here on, the folder lacks its tensors, which every reader refuses: the format itself has
            # nothing that would show an old file beside a new one.
            (folder / WEIGHTS_FILE).unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise VxlabError(f"{folder} cannot be written: {first_line(error)}; give one that can") from error


def _weights_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("adapter_model*"))


def _adapters_below(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))
    return []


def _why_no_config(folder: Path) -> str:
    if below := _adapters_below(folder):
        return f"{folder} holds {len(below)} adapters in folders of their own: {', '.join(below[:8])}; name one of them"
    if _weights_in(folder):
        return f"{folder} has weights and no {CONFIG_FILE}, without which they have no scale; get the whole folder"
    return f"{folder} holds no adapter: it has neither {SETTINGS_FILE} (vxlab's) nor {CONFIG_FILE} (peft's)"


def _why_no_weights(folder: Path) -> str:
    if (folder / _PICKLE).exists():
        return (
            f"{folder / _PICKLE} is a pickle, which can run any program as it is read, so it is not; if you trust "
            "where it is from, convert it once: safetensors.torch.save_file(torch.load('adapter_model.bin', "
            f"weights_only=True), {WEIGHTS_FILE!r}, metadata={{'format': 'pt'}})"
        )
    if shards := _weights_in(folder):
        return (
            f"{folder} holds its adapter in parts ({', '.join(path.name for path in shards[:3])}); join them: load "
            f"each by safetensors.torch.load_file and save all tensors together as {WEIGHTS_FILE}"
        )
    return f"{folder} lacks {WEIGHTS_FILE}, perhaps because saving it was cut short; get the whole folder"
