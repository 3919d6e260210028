"""Whether a model is the base that an adapter of the peft library names, as far as the name tells."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vxlab.adapters.core import quantisation_of
from vxlab.adapters.interop.saved import SavedAdapter
from vxlab.errors import VxlabError

_ENOUGH = 3
"""layers whose weights are compared: models that differ at all differ in nearly all of them"""


def check_named_base(saved: SavedAdapter, model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Raise or warn where a model is another than an adapter's config names: peft's folder has no fingerprint of it.

    Where the name is a folder here, its weights tell, if they are not quantised. Where they are, or it is a hub's name,
    another name of the model may be the same weights' or not: that is a warning.

    Raises:
        VxlabError: the weights are others.
    """
    if not saved.base:
        return
    if Path(saved.base).is_dir() and (other := next(_others(Path(saved.base), layers), None)):
        raise VxlabError(
            f"{saved.folder} was trained on {saved.base}, whose `{other}` is another than this "
            f"{type(model).__name__}'s, or is quantised there; load the model from there"
        )
    here = str(getattr(getattr(model, "config", None), "name_or_path", "") or "")
    if _is_elsewhere(saved.base, here, layers):
        warnings.warn(
            f"{saved.folder} was trained on {saved.base}, and this model is {here}; unless the two have the same "
            "weights, load that one",
            stacklevel=4,
        )


def _is_elsewhere(named: str, here: str, layers: Mapping[str, nn.Module]) -> bool:
    """Tell whether the two names are of other models, where no weights were compared."""
    if not Path(named).is_dir():
        return _is_name(named) and _is_name(here) and _last(named) != _last(here)
    quantised = any(quantisation_of(layer) for layer in layers.values())
    return quantised and bool(here) and Path(named).resolve() != Path(here).resolve()


def _others(folder: Path, layers: Mapping[str, nn.Module]) -> Iterator[str]:
    """Yield the layers whose weight in a model's folder is another, but for those that it has under other names."""
    for name, layer in list(layers.items())[:_ENOUGH]:
        there = None if quantisation_of(layer) else _find(folder, f"{name}.weight")
        if there is not None and not _is_same(layer.get_parameter("weight").detach().cpu(), there):
            yield name


def _find(folder: Path, name: str) -> Tensor | None:
    """Return a tensor of a model's folder by its name, with the name of the backbone or without."""
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - it is no mapping
                    if key == name or name.endswith(f".{key}") or key.endswith(f".{name}"):
                        found: Tensor = file.get_tensor(key)
                        return found
        except (OSError, SafetensorError):
            continue
    return None


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors are the same numbers, as far as the coarser of their precisions holds them."""
    if one.shape != other.shape:
        return False
    if not other.is_floating_point():  # packed: what it stands for takes the whole layer to tell
        return False
    dtype = min(one.dtype, other.dtype, key=lambda each: torch.finfo(each).bits)
    if {one.dtype, other.dtype} == {torch.float16, torch.bfloat16}:
        return torch.allclose(one.float(), other.float(), rtol=1e-2)
    return torch.equal(one.to(dtype), other.to(dtype))


def _is_name(text: str) -> bool:
    return bool(text) and text.count("/") <= 1 and not text.startswith((".", "~", "/")) and not Path(text).exists()


def _last(name: str) -> str:
    return name.rpartition("/")[2].lower()
