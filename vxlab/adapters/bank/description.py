"""What a bank is of: one method with all its settings, its layers, and the base that they are on."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vxlab._version import __version__
from vxlab.adapters import (
    Family,
    Head,
    Method,
    adapted_layers,
    attach_layers,
    detach,
    method_from_name,
    resolve_targets,
)
from vxlab.adapters.bank.layout import ROW_DTYPES, RowLayout, RowPlace
from vxlab.adapters.core import Shape, base_fingerprints, code_version, linear_shape, require_method
from vxlab.adapters.methods import require_registered
from vxlab.adapters.placement import (
    BaseValues,
    attachment_of,
    bare,
    base_buffers,
    base_parameters,
    quantisations,
    require_before_sharing_out,
    require_unattached,
)
from vxlab.adapters.saving import CHECKSUM
from vxlab.checks import quote, require_choice
from vxlab.errors import VxlabError

BANK_FORMAT = 1
BANK_FILE = "bank.json"


@dataclass(frozen=True)
class BankDescription:
    """What every adapter of a bank has in common."""

    key: str
    """drawn at creation: the mark by which a bank knows its own files"""
    method: Method
    layers: Mapping[str, Shape]
    """(out, in) of the adapted layers by dotted name, in the model's order"""
    head: tuple[str, ...]
    """the names of the task head's parameters, in the model's order"""
    layout: RowLayout
    prints: Mapping[str, Any]
    """what tells its base and its frozen tensors: fingerprints as in an adapter's folder"""


def describe_bank(model: nn.Module, method: Method, targets: str | Sequence[str], dtype: str) -> BankDescription:
    """Return what a bank of a method on a model is of; the model is left as it is.

    Raises:
        VxlabError: the method is no family whose frozen tensors a seed or the base makes, nor Head; it cannot be
            attached.
    """
    require_choice("dtype", dtype, tuple(ROW_DTYPES))
    require_before_sharing_out(model)
    require_method(method)
    _require_small(method)
    require_registered(method)
    inside = bare(model)
    require_unattached(inside)
    layers = resolve_targets(inside, targets) if method.on_layers else {}
    shapes = {name: linear_shape(layer) for name, layer in layers.items()}
    with torch.random.fork_rng(devices=[]):  # initial values, of which only the shapes count
        attach_layers(inside, method, layers)
    try:
        return _describe_attached(inside, method, shapes, ROW_DTYPES[dtype])
    finally:
        detach(inside)


def _describe_attached(
    model: nn.Module, method: Method, shapes: Mapping[str, Shape], dtype: torch.dtype
) -> BankDescription:
    head = {name: each for name, each in base_parameters(model).items() if each.requires_grad}
    trained = {
        f"{name}.{key}": tensor.shape
        for name, layer in adapted_layers(model).items()
        for key, tensor in layer.trained_tensors().items()
    }
    _, still = base_buffers(model)
    prints = {
        "base": base_fingerprints(BaseValues(model, head)),
        **({"quantisation": [each._asdict() for each in found]} if (found := quantisations(model)) else {}),
        **({"buffers": base_fingerprints(still)} if still else {}),
        **attachment_of(model).fingerprints,
        **code_version(type(method)),
    }
    layout = RowLayout.of_shapes({**trained, **{name: each.shape for name, each in head.items()}}, dtype)
    return BankDescription(secrets.token_hex(16), method, dict(shapes), tuple(head), layout, prints)


def _require_small(method: Method) -> None:
    if not isinstance(method, Family | Head):
        raise VxlabError(f"{method} has no bank: only families of adapters and Head do; save it in a folder of its own")
    if isinstance(method, Family) and method.stores_bases:
        raise VxlabError(
            f"{method} has no bank: its bases are those of one adapter's folder, and many times what trains; save it "
            "in a folder of its own"
        )


def write_description(folder: Path, description: BankDescription) -> None:
    """Write ``bank.json`` into a new folder."""
    layout = description.layout
    fields = {
        "format": BANK_FORMAT,
        "key": description.key,
        "method": description.method.name,
        "settings": description.method.settings(),
        "layers": {name: list(shape) for name, shape in description.layers.items()},
        "head": list(description.head),
        "dtype": str(layout.dtype).removeprefix("torch."),
        "row": [list(place) for place in layout.places],
        "prints": dict(description.prints),
        "vxlab": __version__,
        "torch": torch.__version__,
    }
    whole = json.loads(json.dumps(fields))  # as it will be read
    text = json.dumps({**whole, CHECKSUM: _checksum(whole)}, indent=1) + "\n"
    with (folder / BANK_FILE).open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_description(folder: Path) -> BankDescription:
    """Return what ``bank.json`` says.

    Raises:
        VxlabError: there is none, it is damaged or altered, or of a format not known here.
    """
    path = folder / BANK_FILE
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VxlabError(
            f"{folder} holds no bank of adapters: {BANK_FILE} cannot be read ({error.strerror}); make one with "
            "vxlab.AdapterBank.create(folder, model, method)"
        ) from error
    except (ValueError, RecursionError) as error:
        raise VxlabError(f"{path} is damaged: not JSON ({error}); take it from a copy") from error
    if not isinstance(saved, dict) or "format" not in saved or CHECKSUM not in saved:
        raise VxlabError(f"{path} is none of a bank of adapters")
    if saved["format"] != BANK_FORMAT:
        raise VxlabError(f"{path} has format {quote(saved['format'])}; this vxlab reads {BANK_FORMAT}; upgrade vxlab")
    if saved[CHECKSUM] != _checksum(saved):
        raise VxlabError(f"{path} was altered: its fields do not have the checksum in it; take it from a copy")
    return _read_fields(saved, path)


def _read_fields(saved: Mapping[str, Any], path: Path) -> BankDescription:
    try:
        method = method_from_name(saved["method"], **saved["settings"])
        places = (RowPlace(layer, name, tuple(shape), offset) for layer, name, shape, offset in saved["row"])
        return BankDescription(
            saved["key"],
            method,
            {name: (shape[0], shape[1]) for name, shape in saved["layers"].items()},
            tuple(saved["head"]),
            RowLayout(tuple(places), ROW_DTYPES[saved["dtype"]]),
            saved["prints"],
        )
    except VxlabError as error:
        raise VxlabError(f"{path} cannot be used: {error}") from error
    except (KeyError, TypeError, ValueError) as error:  # with a right checksum: written by something else
        raise VxlabError(f"{path} is damaged: {error!r}; take it from a copy") from error


def _checksum(fields: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in fields.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
