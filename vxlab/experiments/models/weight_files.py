"""A model's weights read from its safetensors files one at a time, without building the model."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.assets import list_assets
from vxlab.experiments.models.files import (
    ModelPlace,
    explain_load_error,
    find_model,
    quiet_transformers,
    read_config,
    refuse_own_code,
)
from vxlab.experiments.models.load import load_model, usual_labels
from vxlab.experiments.models.weights import ModelWeights, weights_in_memory
from vxlab.words import first_line

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def open_weights(model: str | Path | nn.Module, argument: str = "model") -> ModelWeights:
    """Return a model's weights, to be read one at a time.

    Only the safetensors files are read, shard by shard, and no model is built. One that was saved quantised, and one
    whose files call its layers otherwise than transformers does now, are loaded whole. A model in memory may carry
    adapters: its weights are those without them.

    Args:
        model: a model, or its name or folder.
        argument: what to call it in an error.

    Raises:
        VxlabError: there is no such model, or its weights are pickled.
    """
    if isinstance(model, nn.Module):
        return weights_in_memory(model, f"the {argument} in memory")
    if not isinstance(model, str | Path):
        raise VxlabError(f"{argument}={quote(model)} is neither a model nor the name or folder of one")
    name = str(model)
    folder = _folder(name)
    config = _config(name, folder, argument)
    if getattr(config, "quantization_config", None) is not None:
        return weights_in_memory(load_model(name, usual_labels(name)), name)
    return _of_folder(name, folder, config)


def _folder(name: str) -> Path:
    if Path(name).expanduser().is_dir() and name not in list_assets():
        return Path(name).expanduser()
    place = find_model(name)
    if place.commit is None:
        return Path(place.path)
    from huggingface_hub import snapshot_download

    with explain_load_error(name):
        return Path(snapshot_download(place.path, revision=place.commit, allow_patterns=["*.safetensors", "*.json"]))


def _config(name: str, folder: Path, argument: str) -> Any:
    there = {path.name for path in folder.iterdir()}
    if "config.json" not in there:
        raise VxlabError(f"{argument}={name!r} is a folder without config.json; name one written by save_pretrained")
    if not any(each.endswith(".safetensors") for each in there):
        pickled = sorted(each for each in there if each.endswith((".bin", ".pt", ".pth")))
        what = f"only pickled weights ({pickled[0]}), which are not loaded" if pickled else "no weights"
        raise VxlabError(f"{argument}={name!r} holds {what}; save it with save_pretrained, which writes safetensors")
    config = read_config(name, ModelPlace(str(folder)))
    refuse_own_code(name, config)
    return config


def _of_folder(name: str, folder: Path, config: Any) -> ModelWeights:
    import transformers

    with quiet_transformers(), explain_load_error(name), torch.device("meta"):
        skeleton: nn.Module = transformers.AutoModel.from_config(config, trust_remote_code=False)
    prefix: Any = getattr(skeleton, "base_model_prefix", "")
    start = f"{prefix}." if prefix else ""
    files = _files(name, folder)
    known = {key.removeprefix(start) for key in files}
    wanted = {key for key, _ in skeleton.named_parameters() if key.endswith(".weight")}
    if not wanted & known or any(_is_block(key) and key not in known for key in wanted):
        return _whole(name, folder, config)
    tensors = {key.removeprefix(start): partial(_read, path, key) for key, path in files.items()}
    return ModelWeights(name, str(config.model_type), start, skeleton, tensors, {})


def _is_block(key: str) -> bool:
    return any(part.isdecimal() for part in key.split("."))


def _files(name: str, folder: Path) -> dict[str, Path]:
    """Return in which file each tensor lies.

    Raises:
        VxlabError: an index is damaged, or a shard is missing or cut short.
    """
    index = folder / _INDEX
    try:
        if not (folder / _WHOLE).is_file() and index.is_file():
            places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            lost = sorted({part for part in places.values() if not (folder / part).is_file()})
            if lost:
                raise VxlabError(f"{name}: {_INDEX} names {lost[0]}, which is not there; get the whole folder")
            return {key: folder / part for key, part in places.items()}
        with safe_open(folder / _WHOLE, "pt") as opened:
            return dict.fromkeys(opened.keys(), folder / _WHOLE)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VxlabError(f"{name}: its weights cannot be read ({first_line(error)}); get the folder again") from error


def _read(path: Path, key: str) -> Tensor:
    with safe_open(path, "pt") as opened:
        tensor: Tensor = opened.get_tensor(key)
    return tensor


def _whole(name: str, folder: Path, config: Any) -> ModelWeights:
    """Load a model, of whose tensors those that its files lack, which transformers draws, are left out."""
    import transformers

    named = (config.architectures or [""])[0]
    with quiet_transformers(), explain_load_error(name):
        model, loaded = getattr(transformers, named, transformers.AutoModel).from_pretrained(
            folder, dtype="auto", use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    return weights_in_memory(model, name, without=loaded["missing_keys"])
