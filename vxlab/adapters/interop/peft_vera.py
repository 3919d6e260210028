"""VeRA as the peft library saves it, with its two shared matrices or with their seed alone."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vxlab.adapters.core import Family, Shape
from vxlab.adapters.interop.keys import own_names, sort_tensors
from vxlab.adapters.interop.peft_files import WEIGHTS_FILE
from vxlab.adapters.interop.peft_other import settings_there
from vxlab.adapters.interop.saved import SavedAdapter
from vxlab.checks import quote
from vxlab.errors import VxlabError

_OURS = {"vera_lambda_b": "lambda_b", "vera_lambda_d": "lambda_d"}
_SHARED = {"vera_A": "A", "vera_B": "B"}


def read_vera(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SavedAdapter:
    """Return a VeRA of the peft library.

    Raises:
        VxlabError: a tensor is missing or of another shape than the config says.
    """
    layers, shared, others, stored = sort_tensors(tensors, own_names("VERA"))
    for name, own in layers.items():
        _check(folder, config, name, own)
    _check_shared(folder, config, shared, layers)
    ours = config.get("bias", "none") == "none"
    method, settings = ("vera", _settings(config)) if ours else settings_there(folder, config)
    return SavedAdapter(
        folder=folder,
        kind="peft",
        method=method,
        settings=settings,
        layers=tuple(layers),
        tensors={name: {_OURS[key]: each for key, each in own.items()} for name, own in layers.items()},
        shared={_SHARED[name]: each for name, each in shared.items()},
        others=others,
        stored=stored,
        base=config.get("base_model_name_or_path"),
        config=config,
    )


def settle_projection(saved: SavedAdapter, shapes: Mapping[str, Shape]) -> SavedAdapter:
    """Return a VeRA with the matrices that its layers of these shapes act through: drawn from its seed, or given.

    Raises:
        VxlabError: those in the folder are smaller than a layer.
    """
    method = saved.make_method()
    if not saved.shared or not isinstance(method, Family):
        return saved
    drawn = method.shared(list(shapes.values()))
    A, B = saved.shared["A"].float(), saved.shared["B"].float()
    if torch.equal(drawn["A"], A) and torch.equal(drawn["B"], B):
        return saved
    small = [layer for layer, (rows, columns) in shapes.items() if rows > B.shape[0] or columns > A.shape[1]]
    if small:
        raise VxlabError(
            f"{saved.folder} is of another base: its vera_A {tuple(A.shape)} and vera_B {tuple(B.shape)} are too small "
            f"for `{small[0]}` (out, in) = {shapes[small[0]]}"
        )
    settings = {name: value for name, value in saved.settings.items() if name != "seed"} | {"matrices": "given"}
    cut = {layer: {"left_basis": B[:rows], "right_basis": A[:, :columns]} for layer, (rows, columns) in shapes.items()}
    return dataclasses.replace(saved, settings=settings, shared={}, frozen=cut)


def _check(folder: Path, config: Mapping[str, Any], layer: str, own: Mapping[str, Tensor]) -> None:
    found = {name: tuple(each.shape) for name, each in own.items()}
    rank = config.get("r")
    if own.keys() != _OURS.keys() or found["vera_lambda_d"] != (rank,) or len(found["vera_lambda_b"]) != 1:
        raise VxlabError(
            f"{folder / WEIGHTS_FILE}: `{layer}` has {found}, and rank {quote(rank)} takes vera_lambda_b (out,) and "
            f"vera_lambda_d ({rank},); get the whole folder, or save the adapter again"
        )


def _check_shared(
    folder: Path, config: Mapping[str, Any], shared: Mapping[str, Tensor], layers: Mapping[str, Mapping[str, Tensor]]
) -> None:
    path, stored = folder / WEIGHTS_FILE, config.get("save_projection", True)
    wanted = {*_SHARED} if stored else set()
    if shared.keys() != wanted:
        raise VxlabError(
            f"{path}: with save_projection={stored} it must hold {' and '.join(sorted(wanted)) or 'no projection'}, "
            f"and holds {' and '.join(sorted(shared)) or 'none'}; get the whole folder, or save the adapter again"
        )
    if not shared:
        return
    A, B, rank = tuple(shared["vera_A"].shape), tuple(shared["vera_B"].shape), config.get("r")
    most = max((each["vera_lambda_b"].shape[0] for each in layers.values()), default=0)
    if len(A) != 2 or len(B) != 2 or A[0] != rank or B[1] != rank or B[0] < most:
        raise VxlabError(
            f"{path}: vera_A {A} and vera_B {B} do not fit rank {quote(rank)} and layers of up to {most} outputs; they "
            "must be (r, largest in) and (largest out, r)"
        )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rank": config["r"],
        "d_initial": config.get("d_initial", 0.1),
        "seed": config.get("projection_prng_key", 0),
        "dropout": config.get("vera_dropout", 0.0),
    }
