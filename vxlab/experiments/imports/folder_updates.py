"""The updates that an adapter's folder holds, whoever wrote it."""

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vxlab.adapters import adapter_updates, load_adapter
from vxlab.adapters.interop import SavedAdapter, read_saved
from vxlab.adapters.saving import SETTINGS_FILE
from vxlab.analysis import Update
from vxlab.errors import VxlabError
from vxlab.experiments.exchange import count_labels
from vxlab.experiments.models import load_model, open_weights, usual_labels

_SETTINGS = (SETTINGS_FILE, "adapter_config.json")
"""In a folder with an adapter: vxlab's, or the peft library's and LoRA-XS's released code's."""


def is_adapter_folder(path: str | Path) -> bool:
    """Say whether a path is a folder with an adapter in it, vxlab's or one of another library."""
    return any((Path(path).expanduser() / name).is_file() for name in _SETTINGS)


def updates_from(folder: str | Path, base: str | Path | nn.Module | None = None) -> dict[str, Update]:
    """Return the update of every layer that an adapter's folder holds, in float64 on the CPU, in the folder's order.

    Without a base the folder's tensors alone are read: enough for LoRA, for PEFT's VeRA with stored projections, and
    for LoRA-XS with its bases. With one, sizes come from it; and where the update is made of the base's weights, or
    the folder has a fingerprint of them, the base is loaded, checked, and the adapter put on it.

    Args:
        folder: what :func:`vxlab.save_adapter`, the peft library or LoRA-XS's released code wrote.
        base: the model that it was trained on, or its name or folder. One in memory stays as it is.

    Raises:
        VxlabError: the folder holds no adapter or a damaged one, takes its base to be read, is of another base, or
            changes more than matrices.
    """
    place = Path(folder).expanduser()
    if base is None:
        return _alone(place)
    shapes = open_weights(base, "base").shapes()
    saved = read_saved(place, shapes)
    if saved.kind == "vxlab" or saved.method.startswith("peft:") or not _is_told(saved):
        with warnings.catch_warnings():  # no update depends on a head that was drawn, and an import says it
            warnings.filterwarnings("ignore", message=".* was drawn at random when the model was loaded")
            return adapter_updates(load_onto(place, base))
    updates = _as_updates(saved.factors(shapes))
    for layer, update in updates.items():
        if shapes.get(layer) != update.shape:
            told = f"(out, in) = {shapes[layer]}" if layer in shapes else "no linear layer"
            raise VxlabError(
                f"{place} is of another base: its update of `{layer}` is {update.shape}, and there it is {told}; give "
                "the model that it was trained on"
            )
    return updates


def load_onto(folder: str | Path, base: str | Path | nn.Module) -> nn.Module:
    """Return a model with a folder's adapter on it, loaded with as many labels as the adapter's head has.

    Args:
        folder: of an adapter.
        base: as :func:`updates_from` takes it.

    Raises:
        VxlabError: as :func:`vxlab.load_adapter` and :func:`vxlab.load_model`.
    """
    place = Path(folder).expanduser()
    if isinstance(base, nn.Module):
        return load_adapter(copy.deepcopy(base), place).eval()
    labels = labels_for(place, str(base))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a head that does not lie with the adapter is drawn: the same one every time
        return load_adapter(load_model(str(base), labels), place).eval()


def labels_for(folder: str | Path, base: str) -> int:
    """Return with how many labels a base is loaded for an adapter: those of its head; 0 for a model that writes.

    Args:
        folder: of the adapter.
        base: the model's name or folder.
    """
    return count_labels(Path(folder).expanduser(), base) or usual_labels(base)


def _alone(folder: Path) -> dict[str, Update]:
    try:
        return _as_updates(read_saved(folder).factors())
    except VxlabError as error:
        raise VxlabError(
            f"{error}\nWhere a folder does not hold all of its update, give the base, a model, its name or its folder: "
            "updates_from(folder, base)"
        ) from error


def _is_told(saved: SavedAdapter) -> bool:
    """Say whether a folder of another library holds all of its update, so that no base need be loaded."""
    return bool(saved.scalings) or bool(saved.shared) or bool(saved.frozen)


def _as_updates(factors: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Update]:
    return {layer: Update(left.double(), right.double()) for layer, (left, right) in factors.items()}
