"""vxlab's own folder, read without a model."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vxlab.adapters.core import Family, Shape
from vxlab.adapters.interop.saved import SavedAdapter
from vxlab.adapters.methods import method_from_name
from vxlab.adapters.saving import TENSORS_FILE, read_settings, read_tensors
from vxlab.errors import VxlabError

_STACKED = re.compile(r"(?P<name>[^.]+(\..+)?)\.(?P<shape>\d+(x\d+)*)")


def read_own(folder: Path, shapes: Mapping[str, Shape] | None) -> SavedAdapter:
    """Return an adapter that :func:`vxlab.save_adapter` wrote.

    Raises:
        VxlabError: it is damaged, or the layers' shapes are needed and not given.
    """
    settings = read_settings(folder)
    tensors = read_tensors(folder, settings)
    layers = list(settings["layers"])
    bases = {key: each for key, each in tensors.items() if key.rpartition(".")[0] in layers and _is_basis(key)}
    stacks = {key: each for key, each in tensors.items() if key not in bases and _is_stack(key, each)}
    return SavedAdapter(
        folder=folder,
        kind="vxlab",
        method=settings["method"],
        settings=settings["settings"],
        layers=tuple(layers),
        tensors=_unstack(folder, settings["method"], settings["settings"], layers, stacks, shapes),
        frozen=_by_layer(bases),
        others={key: each for key, each in tensors.items() if key not in bases and key not in stacks},
        config=settings,
    )


def _unstack(
    folder: Path,
    method: str,
    settings: Mapping[str, object],
    layers: list[str],
    stacks: Mapping[str, Tensor],
    shapes: Mapping[str, Shape] | None,
) -> dict[str, dict[str, Tensor]]:
    """Return each layer's tensors; rows belong to layers in their order, among those with a tensor of that shape."""
    named = [(_STACKED.fullmatch(key), each) for key, each in stacks.items()]
    if all(len(each) == len(layers) for each in stacks.values()):  # one shape of each name
        return {
            layer: {match["name"]: rows[index] for match, rows in named if match} for index, layer in enumerate(layers)
        }
    family = method_from_name(method, **settings)
    if shapes is None or not set(layers) <= shapes.keys() or not isinstance(family, Family):
        raise VxlabError(
            f"{folder / TENSORS_FILE} holds layers of several shapes, whose order alone says whose a tensor is; give "
            "shapes={layer: (out, in)} of its base, or load it onto the base"
        )
    left = {key: iter(rows) for key, rows in stacks.items()}
    found: dict[str, dict[str, Tensor]] = {}
    for layer in layers:
        with torch.random.fork_rng(devices=[]):
            wanted = family.at(layer).trained(shapes[layer])
        found[layer] = {name: next(left[f"{name}.{'x'.join(map(str, each.shape))}"]) for name, each in wanted.items()}
    return found


def _is_stack(key: str, tensor: Tensor) -> bool:
    match = _STACKED.fullmatch(key)
    return match is not None and match["shape"] == "x".join(map(str, tensor.shape[1:]))


def _is_basis(key: str) -> bool:
    return key.endswith("_basis")


def _by_layer(bases: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in bases.items():
        layer, _, name = key.rpartition(".")
        found.setdefault(layer, {})[name] = tensor
    return found
