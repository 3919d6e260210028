"""Save and load adapters: a folder with the trained tensors and the settings, and nothing that can be rebuilt."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vxlab._version import __version__
from vxlab.adapters.attach import (
    adapted_layers,
    adapter_parameters,
    attach_layers,
    attachment_of,
    base_parameters,
    detach,
    stored_bases,
)
from vxlab.adapters.family import Family, Method
from vxlab.adapters.fingerprint import PROBE_TOLERANCE, weights_fingerprint
from vxlab.adapters.gradient_start import BASIS_NAMES
from vxlab.adapters.layer import linear_shape
from vxlab.adapters.methods import method_from_name, require_registered
from vxlab.adapters.own_code import code_version
from vxlab.errors import VxlabError

FORMAT = 1
SETTINGS_FILE, TENSORS_FILE = "adapter.json", "adapter.safetensors"

Model = TypeVar("Model", bound=nn.Module)


def save_adapter(model: nn.Module, folder: str | os.PathLike[str]) -> Path:
    """Save what was trained, with all that is needed to put it on the same base again.

    ``adapter.safetensors`` holds the trained tensors only: an adapter's, stacked over layers of one shape (key
    ``R.16x16``: ``(layers, 16, 16)``, in the order of ``layers``), and the head's, under their own names.
    ``adapter.json`` holds the method and its settings (with the seed of frozen random matrices), the layers, sha256
    fingerprints of the tensors file, the frozen base weights and the shared random matrices, and one probe for each
    layer's own frozen tensors (LoRA-XS's basis, what PEFT draws or decomposes). The bases of
    ``LoRAXS(basis="gradient")``, which nothing here reproduces, are stored themselves, by layer: r·(in + out) numbers
    each, many times what trains.

    Args:
        model: a model with a method attached, not merged.
        folder: written as a whole or not at all; an earlier adapter there is replaced.

    Returns:
        The folder.

    Raises:
        VxlabError: nothing is attached, the method is one of your own that is not registered, or the model is merged.
        OSError: the folder cannot be written.
    """
    attachment = attachment_of(model)
    require_registered(attachment.method)
    if any(layer.merged for layer in adapted_layers(model).values()):
        raise VxlabError("the model is merged, so its base weights cannot be fingerprinted; call unmerge(model) first")
    other = _other_trained(model)
    tensors = {
        **_stack(adapter_parameters(model)),
        **{name: each.detach().cpu().contiguous() for name, each in (other | stored_bases(model)).items()},
    }
    with _written_whole(Path(folder)) as new:
        save_file(tensors, new / TENSORS_FILE)
        settings = {
            "format": FORMAT,
            "method": attachment.method.name,
            "settings": attachment.method.settings(),
            "layers": list(attachment.layers),
            "tensors_sha256": _sha256(new / TENSORS_FILE),
            "base": _base_fingerprints(_frozen_base(model, other)),
            **_frozen_fingerprints(model),
            **code_version(type(attachment.method)),
            "vxlab": __version__,
            "torch": torch.__version__,
        }
        (new / SETTINGS_FILE).write_text(json.dumps(settings, separators=(",", ":")) + "\n", encoding="utf-8")
    return Path(folder)


def load_adapter(model: Model, folder: str | os.PathLike[str]) -> Model:
    """Put a saved adapter on the base it was trained on: same logits, bit for bit on the same machine.

    Frozen random matrices are drawn again from their seed and LoRA-XS bases computed again from the weights; both
    must match what was saved. Bases from gradients are the saved ones.

    Args:
        model: the base model, either bare or with the same method on the same layers; changed in place.
        folder: what :func:`save_adapter` wrote.

    Returns:
        The same model.

    Raises:
        VxlabError: the folder holds no adapter or a damaged one, the model has another method attached, its base
            weights are others than at saving, or frozen matrices do not reproduce here. The model is then as it was.
    """
    folder = Path(folder)
    saved = _read_settings(folder)
    tensors = _read_tensors(folder, saved)
    method = method_from_name(saved["method"], **saved["settings"])
    _warn_of_other_code(method, saved, folder)
    other = tensors.keys() & base_parameters(model).keys()
    if any(layer.merged for layer in adapted_layers(model).values()):
        raise VxlabError("the model is merged, so its base weights cannot be compared; call unmerge(model) first")
    _check_base(model, saved, other, folder)
    already = getattr(model, "vxlab_attachment", None)
    if already is None:
        with torch.random.fork_rng(devices=[]):  # the initial values are overwritten: leave the caller's generator be
            _attach_saved(model, method, saved["layers"], tensors, folder)
    elif (already.method, list(already.layers)) != (method, saved["layers"]):
        raise VxlabError(
            f"{folder} holds {method}, but the model has {already.method} attached; call detach(model) first"
        )
    try:
        _check_frozen(model, saved, folder)
        _copy_trained(model, tensors, other, folder)
    except VxlabError:
        if already is None:
            detach(model)
        raise
    return model


def _warn_of_other_code(method: Method, saved: Mapping[str, Any], folder: Path) -> None:
    if code_version(type(method)).get("code") != saved.get("code"):
        warnings.warn(
            f"{folder} was saved by other code of {type(method).__name__} than is loaded here (or under another "
            "Python), so its update may be another; compare its outputs, or train again",
            stacklevel=3,
        )


def _other_trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return what trains outside the adapters: the head, or the model's own parameters that the method chose."""
    return {name: parameter for name, parameter in base_parameters(model).items() if parameter.requires_grad}


def _stack(layers: Mapping[str, Mapping[str, nn.Parameter]]) -> dict[str, Tensor]:
    # One entry a layer would cost 100 bytes of header each: more than VeRA's d itself at a low rank.
    groups: dict[str, list[Tensor]] = {}
    for parameters in layers.values():
        for name, parameter in parameters.items():
            groups.setdefault(_group(name, parameter), []).append(parameter.detach().cpu())
    return {key: torch.stack(members) for key, members in groups.items()}


def _group(name: str, tensor: Tensor) -> str:
    return f"{name}.{'x'.join(map(str, tensor.shape))}"


def _frozen_base(model: nn.Module, other: Container[str]) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in base_parameters(model).items() if name not in other}


def _base_fingerprints(base: Mapping[str, Tensor]) -> dict[str, str]:
    return {
        "dtype": _dtype(base),
        "sha256": weights_fingerprint(base),
        "sha256_bfloat16": weights_fingerprint(base, torch.bfloat16),
    }


def _dtype(base: Mapping[str, Tensor]) -> str:
    return ",".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in base.values()}))


def _frozen_fingerprints(model: nn.Module) -> dict[str, Any]:
    attachment = attachment_of(model)
    return attachment.method.fingerprints({name: model.get_submodule(name) for name in attachment.layers})


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS_FILE
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VxlabError(f"{folder} holds no adapter: {SETTINGS_FILE} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise VxlabError(f"{path} is damaged: not JSON ({error}); save the adapter again") from error
    needed = {"format", "method", "settings", "layers", "tensors_sha256", "base"}
    if not isinstance(saved, dict) or not needed <= saved.keys():
        raise VxlabError(f"{path} is not a vxlab adapter: it lacks {', '.join(sorted(needed - set(saved)))}")
    if saved["format"] != FORMAT:
        raise VxlabError(f"{path} has format {saved['format']!r}; this vxlab reads format {FORMAT}; upgrade vxlab")
    return saved


def _read_tensors(folder: Path, saved: Mapping[str, Any]) -> dict[str, Tensor]:
    path = folder / TENSORS_FILE
    try:
        intact = _sha256(path) == saved["tensors_sha256"]
        tensors: dict[str, Tensor] = load_file(path) if intact else {}
    except (OSError, SafetensorError) as error:
        raise VxlabError(f"{path} cannot be read ({error}); save the adapter again") from error
    if not intact:
        raise VxlabError(f"{path} is truncated or altered: its sha256 is not the one in {SETTINGS_FILE}; save it again")
    return tensors


def _check_base(model: nn.Module, saved: Mapping[str, Any], other: set[str], folder: Path) -> None:
    base = _frozen_base(model, other)
    same_dtype = _dtype(base) == saved["base"]["dtype"]
    key, dtype = ("sha256", None) if same_dtype else ("sha256_bfloat16", torch.bfloat16)
    if weights_fingerprint(base, dtype) != saved["base"][key]:
        raise VxlabError(
            f"the adapter in {folder} was trained on another base: this {type(model).__name__}'s frozen weights have "
            f"another fingerprint; load the model it was trained on"
        )


def _attach_saved(
    model: nn.Module, method: Method, layers: list[str], tensors: Mapping[str, Tensor], folder: Path
) -> None:
    modules = dict(model.named_modules())
    missing = [name for name in layers if name not in modules]
    if missing or (method.on_layers and not layers):
        raise VxlabError(f"{folder} adapts `{(missing or ['no layer'])[0]}`, which this {type(model).__name__} lacks")
    bases = None
    if isinstance(method, Family) and method.needs_gradients:
        bases = {name: _bases_of(name, modules[name], method.rank, tensors, folder) for name in layers}
    attach_layers(model, method, {name: modules[name] for name in layers}, bases)


def _bases_of(
    layer: str, module: nn.Module, rank: int, tensors: Mapping[str, Tensor], folder: Path
) -> dict[str, Tensor]:
    """Return a layer's saved bases; what they should be like is known from the layer and the rank alone."""
    bases = {key: tensors[f"{layer}.{key}"] for key in BASIS_NAMES if f"{layer}.{key}" in tensors}
    if len(bases) != 2:
        raise VxlabError(f"{folder / TENSORS_FILE} lacks the bases of `{layer}`; save the adapter again")
    out_features, in_features = linear_shape(module)
    for (key, basis), shape in zip(bases.items(), ((out_features, rank), (rank, in_features)), strict=True):
        if basis.shape != shape:
            raise VxlabError(
                f"{folder / TENSORS_FILE} does not fit the model: `{layer}.{key}` is {tuple(basis.shape)}, and rank "
                f"{rank} on this layer takes {shape}; save the adapter again"
            )
    return bases


def _check_frozen(model: nn.Module, saved: Mapping[str, Any], folder: Path) -> None:
    here, layers = _frozen_fingerprints(model), attachment_of(model).layers
    if here.get("shared_sha256") != saved.get("shared_sha256"):
        raise VxlabError(
            f"the frozen random matrices of {folder} do not reproduce from their seed: this torch {torch.__version__} "
            f"draws other numbers than torch {saved.get('torch')}; install that version to load it"
        )
    old, new = saved.get("basis_probes", []), here.get("basis_probes", [])
    same = [math.isclose(a, b, abs_tol=PROBE_TOLERANCE) for a, b in zip(old, new, strict=False)]
    if len(old) != len(new) or not all(same):
        first = layers[same.index(False)] if False in same else layers[0]
        raise VxlabError(
            f"the frozen basis of `{first}` does not reproduce here, so {folder} would act on other directions; "
            f"load the base in the precision it was trained in"
        )


@torch.no_grad()
def _copy_trained(model: nn.Module, tensors: Mapping[str, Tensor], other: set[str], folder: Path) -> None:
    layers, own = adapter_parameters(model), base_parameters(model)
    stacked = _stack(layers)
    bases = stored_bases(model)
    expected = {key: tensor.shape for key, tensor in {**stacked, **bases, **{n: own[n] for n in other}}.items()}
    found = {key: tensor.shape for key, tensor in tensors.items()}
    if found != expected:
        differing = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
        raise VxlabError(
            f"{folder / TENSORS_FILE} does not fit the model: {', '.join(differing[:3])} missing or unexpected"
        )
    rows = {key: iter(tensors[key]) for key in stacked}
    for parameters in layers.values():
        for name, parameter in parameters.items():
            parameter.copy_(next(rows[_group(name, parameter)]))
    for name, basis in bases.items():
        basis.copy_(tensors[name])
    for name, parameter in own.items():  # what was trained then is what trains now
        parameter.requires_grad_(name in other)
        if name in other:
            parameter.copy_(tensors[name])


@contextlib.contextmanager
def _written_whole(folder: Path) -> Iterator[Path]:
    """Give a temporary neighbour to write into; put it in the folder's place when all went well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield new
        new.chmod(0o755)
        if folder.exists():
            old = new.with_name(new.name + "-old")
            folder.rename(old)
            new.rename(folder)
            shutil.rmtree(old)
        else:
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
