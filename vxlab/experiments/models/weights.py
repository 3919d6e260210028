"""A model's weights one at a time: read from its files without building it, or taken from a model in memory."""

import json
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vxlab.adapters import updated_layers, weight_before
from vxlab.adapters.core import is_linear, linear_shape, linear_weight, orient, quantisation_of
from vxlab.adapters.placement import bare, persistent_buffers
from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.assets import fetch, list_assets
from vxlab.experiments.models.files import (
    ModelPlace,
    explain_load_error,
    quiet_transformers,
    read_config,
    refuse_own_code,
)
from vxlab.experiments.models.load import load_model, usual_labels
from vxlab.words import first_line

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PEFT_MODEL = "base_model.model."
_AS_WRAPPED = re.compile(r"\.(?:base_layer|modules_to_save\.[^.]+)\.")
"""What peft's wrappers add within the name of a parameter of the base."""


@dataclass(frozen=True)
class ModelWeights:
    """The tensors of a model by name, none of them read yet.

    Names are without that of the backbone (``bert.``, ``model.``), which a model saved without its head lacks.
    """

    name: str
    """what to call it in sentences"""
    kind: str
    """its architecture, transformers' ``model_type``; "" of a model that is none of transformers'"""
    prefix: str
    """what the names lack"""
    skeleton: nn.Module
    """the model, or its backbone as shapes alone: it knows which layers there are"""
    tensors: Mapping[str, Callable[[], Tensor]] = field(repr=False)
    """each reads one tensor, as it is stored"""
    layers: Mapping[str, Callable[[], Tensor]] = field(repr=False)
    """each reads W ``(out, in)`` of a layer that holds it in another way than in floating point as ``weight``"""

    def tensor(self, name: str) -> Tensor:
        """Read a tensor.

        Raises:
            VxlabError: it holds NaN or infinite values, or its file cannot be read.
        """
        try:
            return self._finite(self.tensors[name](), name)
        except (OSError, SafetensorError) as error:
            raise VxlabError(
                f"{self.name}: `{name}` cannot be read ({first_line(error)}); get the file again"
            ) from error

    def weight(self, layer: str, module: nn.Module) -> Tensor:
        """Read W ``(out, in)`` of a linear layer.

        Args:
            layer: its name.
            module: the layer, or one like it, which says how its weight is laid out.
        """
        if layer in self.layers:
            return self._finite(self.layers[layer](), f"{layer}.weight")
        if not self.has_layer(layer):
            raise VxlabError(f"{self.name}: its files lack `{layer}.weight`, so it is not whole; get the folder again")
        return orient(module, self.tensor(f"{layer}.weight"))

    def has_layer(self, layer: str) -> bool:
        """Say whether there is a weight of this layer."""
        return layer in self.layers or f"{layer}.weight" in self.tensors

    def names(self) -> list[str]:
        """Return the names of all tensors, those that ``layers`` read among them."""
        return list(dict.fromkeys([*self.tensors, *(f"{layer}.weight" for layer in self.layers)]))

    def plain_name(self, name: str) -> str:
        """Return a name without that of the backbone."""
        return name.removeprefix(self.prefix)

    def full_name(self, name: str) -> str:
        """Return a name as a model with a head has it."""
        inside = any(name.partition(".")[0] == child for child, _ in self._backbone().named_children())
        return f"{self.prefix}{name}" if inside else name

    def module(self, layer: str) -> nn.Module:
        """Return a layer of the backbone, with or without values."""
        return self._backbone().get_submodule(layer)

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Return (out, in) of all linear layers, by their names in a model with a head."""
        linear = {name: module for name, module in self.skeleton.named_modules() if is_linear(module)}
        return {self.full_name(self.plain_name(name)): linear_shape(module) for name, module in linear.items()}

    def _backbone(self) -> nn.Module:
        own = getattr(self.skeleton, self.prefix.removesuffix("."), None) if self.prefix else None
        return own if isinstance(own, nn.Module) else self.skeleton

    def _finite(self, tensor: Tensor, name: str) -> Tensor:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise VxlabError(f"{self.name}: `{name}` holds NaN or infinite values, so nothing can be said of it")
        return tensor


def open_weights(model: str | Path | nn.Module, argument: str = "model") -> ModelWeights:
    """Return a model's weights, to be read one at a time.

    Of a folder (and of a packaged model) only the safetensors files are read, shard by shard, and no model is built. A
    model of the hub, one that was saved quantised, and one whose files call its layers otherwise than transformers does
    now are loaded whole. A model in memory may carry adapters: its weights are those without them.

    Args:
        model: a model, or its name or folder.
        argument: what to call it in an error.

    Raises:
        VxlabError: there is no such model, or its weights are pickled.
    """
    if isinstance(model, nn.Module):
        return _of_module(model, f"the {argument} in memory")
    if not isinstance(model, str | Path):
        raise VxlabError(f"{argument}={quote(model)} is neither a model nor the name or folder of one")
    name = str(model)
    folder = _folder(name)
    if folder is None:
        return _of_module(load_model(name, usual_labels(name)), name)
    config = _config(name, folder, argument)
    if getattr(config, "quantization_config", None) is not None:
        return _of_module(load_model(name, usual_labels(name)), name)
    return _of_folder(name, folder, config)


def _folder(name: str) -> Path | None:
    if name in {key for key, asset in list_assets().items() if asset.kind == "model"}:
        return Path(fetch(name))
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else None


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
        files: dict[str, Path] = {}
        for path in [folder / _WHOLE] if (folder / _WHOLE).is_file() else sorted(folder.glob("*.safetensors")):
            with safe_open(path, "pt") as opened:
                files |= dict.fromkeys(opened.keys(), path)
        return files
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
    return _of_module(model, name, without=loaded["missing_keys"])


def _of_module(model: nn.Module, name: str, without: Container[str] = ()) -> ModelWeights:
    inside: Any = bare(model)
    prefix = getattr(inside, "base_model_prefix", "")
    start = f"{prefix}." if prefix and isinstance(getattr(inside, prefix, None), nn.Module) else ""
    adapted = updated_layers(inside)
    layers: dict[str, Callable[[], Tensor]] = {
        key: partial(linear_weight, module) for key, module in _packed_layers(inside).items()
    }
    layers |= {key: partial(weight_before, layer) for key, layer in adapted.items()}
    own = {key: tensor for key, tensor in _own_tensors(inside).items() if key.removesuffix(".weight") not in layers}
    return ModelWeights(
        name,
        str(getattr(getattr(inside, "config", None), "model_type", "") or ""),
        start,
        inside,
        {key.removeprefix(start): partial(_given, tensor) for key, tensor in own.items() if key not in without},
        {key.removeprefix(start): read for key, read in layers.items()},
    )


def _given(tensor: Tensor) -> Tensor:
    return tensor


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and kept buffers that a model has without adapters, by the names that it has them under."""
    adapted = [f"{name}." for name in updated_layers(model)]
    packed = [f"{name}." for name, module in model.named_modules() if quantisation_of(module)]
    found = {}
    for name, tensor in {**dict(model.named_parameters()), **persistent_buffers(model)}.items():
        plain = _AS_WRAPPED.sub(".", name.removeprefix(_PEFT_MODEL))
        owner = next((start for start in adapted if plain.startswith(start)), "")
        hidden = any(name.startswith(start) for start in packed) and not name.endswith(".bias")
        if owner and plain.removeprefix(owner) not in ("weight", "bias"):
            continue  # of the adapter
        if not hidden and ".original_module." not in name:
            found[plain] = tensor.detach()
    return found


def _packed_layers(model: nn.Module) -> dict[str, nn.Module]:
    packed = {name: module for name, module in model.named_modules() if quantisation_of(module)}
    return {_AS_WRAPPED.sub(".", f"{name}.".removeprefix(_PEFT_MODEL))[:-1]: each for name, each in packed.items()}
