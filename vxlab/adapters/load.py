"""Load a saved adapter onto the base that it was trained on."""

import math
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vxlab.adapters.attach import attach_layers, detach
from vxlab.adapters.core import (
    BASIS_NAMES,
    PROBE_TOLERANCE,
    Family,
    Method,
    check_fingerprints,
    code_version,
    is_linear,
    linear_shape,
)
from vxlab.adapters.interop import is_peft_folder, read_saved
from vxlab.adapters.load_foreign import load_foreign
from vxlab.adapters.methods import method_from_name
from vxlab.adapters.placement import (
    BaseValues,
    adapted_layers,
    adapter_parameters,
    attachment_of,
    bare,
    base_parameters,
    own_buffers,
    quantisations,
    require_before_sharing_out,
    select_unmoved,
    stored_bases,
)
from vxlab.adapters.saving import (
    CHECKSUM,
    SETTINGS_FILE,
    TENSORS_FILE,
    group,
    read_settings,
    read_tensors,
    stack,
)
from vxlab.checks import require_choice, settle
from vxlab.errors import VxlabError

Model = TypeVar("Model", bound=nn.Module)

_BASES = ("same", "any")


def load_adapter(model: Model, folder: str | os.PathLike[str], base: str = "same") -> Model:
    """Put a saved adapter on the base it was trained on: same logits, bit for bit on the same machine.

    A folder of the peft library's is read too, with all of its tensors: LoRA and VeRA become the methods of these names
    here, LoRA's ``rank_pattern`` ranks by layer, and what they cannot say (DoRA, scales by layer that follow from no
    one α, trained biases) and peft's other methods become ``PEFT``. Such a folder has no fingerprint of its base, so
    that only its layers, their sizes and its name tell another one. That of LoRA-XS's released code holds both bases
    whole, which do: they become ``LoRAXS`` between W's own singular vectors where they are these to rounding, and else
    ``LoRAXS(basis="given")`` on those of the folder, with a warning that says how far they are.

    Frozen random matrices are drawn again from their seed and LoRA-XS bases computed again from the weights; both
    must match what was saved. Bases from gradients, and given ones, are the saved ones.

    Args:
        model: the base model, either bare or, for a folder of vxlab's, with the same method on the same layers; changed
            in place. In another precision than at saving it is recognised too, but gives its own logits.
        folder: what :func:`save_adapter` wrote, the peft library, or LoRA-XS's released code.
        base: ``same`` refuses a base of other weights than the adapter was trained on. ``any`` takes it, such as the
            float model for an adapter that was trained on it in four bits, with a warning; the adapter bears the mark
            of it, also when it is saved again. Bases that come from the weights (LoRA-XS) would be others there, and
            are refused all the same. To a folder of others', which knows no fingerprint, it makes no difference.

    Returns:
        The same model.

    Raises:
        VxlabError: the folder holds no adapter or a damaged one, the model has another method attached, its base
            weights are others than at saving, or frozen matrices do not reproduce here. The model is then as it was.
    """
    require_choice("base", base, _BASES)
    folder, inside = Path(settle("folder", folder, str)), bare(model)
    if any(layer.merged for layer in adapted_layers(model).values()):
        raise VxlabError("the model is merged, so its base weights cannot be compared; call unmerge(model) first")
    if is_peft_folder(folder):
        load_foreign(model, read_saved(folder))
        return model
    saved = read_settings(folder)
    tensors = read_tensors(folder, saved)
    method = _saved_method(saved, folder)
    if not method.by_gradient:
        raise VxlabError(
            f"{folder} holds no adapter, but a run of {method.name}, which puts nothing on a model; "
            "vxlab.experiments.runs.load_trained(record) returns the model that answers as the run did"
        )
    _warn_of_other_code(method, saved, folder)
    other = tensors.keys() & base_parameters(inside).keys()
    moved = tensors.keys() & own_buffers(inside).keys()
    trained_on = _trained_on(inside, saved, other, moved, folder, anywhere=base == "any")
    already = getattr(inside, "vxlab_attachment", None)
    if already is None:
        require_before_sharing_out(model)
        with torch.random.fork_rng(devices=[]):  # the initial values are overwritten: leave the caller's generator be
            _attach_saved(inside, method, saved, tensors, folder)
    elif (already.method, list(already.layers)) != (method, saved["layers"]):
        raise VxlabError(
            f"{folder} holds {method}, but the model has {already.method} attached; call detach(model) first"
        )
    try:
        _check_frozen(inside, saved, folder)
        _copy_saved(inside, tensors, other, moved, folder)
    except VxlabError:
        if already is None:
            detach(inside)
        raise
    inside.vxlab_attachment = replace(attachment_of(inside), trained_on=trained_on)  # type: ignore[assignment]
    return model


def _saved_method(saved: Mapping[str, Any], folder: Path) -> Method:
    try:
        return method_from_name(saved["method"], **saved["settings"])
    except VxlabError as error:
        raise VxlabError(f"{folder / SETTINGS_FILE} cannot be used: {error}") from error
    except (TypeError, ValueError) as error:
        raise VxlabError(f"{folder / SETTINGS_FILE} is damaged: {error}; save the adapter again") from error


def _warn_of_other_code(method: Method, saved: Mapping[str, Any], folder: Path) -> None:
    if code_version(type(method)).get("code") != saved.get("code"):
        warnings.warn(
            f"{folder} was saved by other code of {type(method).__name__} than is loaded here (or under another "
            "Python), so its update may be another; compare its outputs, or train again",
            stacklevel=3,
        )


def _trained_on(
    model: nn.Module,
    saved: Mapping[str, Any],
    other: Collection[str],
    moved: Collection[str],
    folder: Path,
    *,
    anywhere: bool,
) -> Mapping[str, Any] | None:
    """Return what tells the base that an adapter was trained on where this is another; None where it is this one."""
    there, here = _in_words(saved.get("quantisation", [])), _in_words([each._asdict() for each in quantisations(model)])
    beside = f"trained {there}, and this base is {here}" if there != here else ""
    try:
        _check_base(model, saved, other, moved, folder)
    except VxlabError as error:
        if not anywhere:
            raise VxlabError(f"{error}; it was {beside}" if beside else str(error)) from error
    else:
        return saved.get("trained_on")
    warnings.warn(
        f"the adapter in {folder} was trained on another base{f' ({beside})' if beside else ''}, so that it answers "
        "otherwise than it was trained to: score it before you use it",
        stacklevel=3,
    )
    return saved.get("trained_on") or {"base": saved["base"], "quantisation": saved.get("quantisation", [])}


def _in_words(schemes: Sequence[Mapping[str, Any]]) -> str:
    return f"in {' and '.join(str(each['scheme']) for each in schemes)}" if schemes else "in floating point"


def _check_base(
    model: nn.Module, saved: Mapping[str, Any], other: Collection[str], moved: Collection[str], folder: Path
) -> None:
    what = f"the adapter in {folder} was trained on another base: this {type(model).__name__}'s frozen"
    check_fingerprints(BaseValues(model, other), saved["base"], f"{what} weights")
    if "buffers" in saved:
        still = select_unmoved(own_buffers(model), moved)
        check_fingerprints(still, saved["buffers"], f"{what} buffers")


def _attach_saved(
    model: nn.Module, method: Method, saved: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path
) -> None:
    modules, layers = dict(model.named_modules()), saved["layers"]
    missing = [name for name in layers if name not in modules or not is_linear(modules[name])]
    if missing or (method.on_layers and not layers):
        raise VxlabError(
            f"{folder} adapts {f'`{missing[0]}`' if missing else 'no layer'}, which this {type(model).__name__} lacks, "
            "or has as no linear layer"
        )
    # Rows of the tensors belong to layers by their order, which nothing else shows where there is no checksum.
    if CHECKSUM not in saved and layers != [name for name in modules if name in layers]:
        raise VxlabError(f"{folder / SETTINGS_FILE} is damaged: its layers are not in the model's order; save it again")
    bases = None
    if isinstance(method, Family) and method.stores_bases:
        bases = {name: _bases_of(name, modules[name], method.at(name).r, tensors, folder) for name in layers}
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
    here, layers = attachment_of(model).fingerprints, attachment_of(model).layers
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
            "load the base that it was trained on, in the precision that it had when the method was attached, and cast "
            "it afterwards"
        )


@torch.no_grad()
def _copy_saved(
    model: nn.Module, tensors: Mapping[str, Tensor], other: Collection[str], moved: Collection[str], folder: Path
) -> None:
    layers, own, buffers = adapter_parameters(model), base_parameters(model), own_buffers(model)
    stacked = stack(layers)
    bases = stored_bases(model)
    whole = bases | {name: buffers[name] for name in moved} | {name: own[name] for name in other}
    expected = {key: tensor.shape for key, tensor in {**stacked, **whole}.items()}
    found = {key: tensor.shape for key, tensor in tensors.items()}
    if found != expected:
        differing = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
        raise VxlabError(
            f"{folder / TENSORS_FILE} does not fit the model: {', '.join(differing[:3])} missing or unexpected"
        )
    rows = {key: iter(tensors[key]) for key in stacked}
    for parameters in layers.values():
        for name, parameter in parameters.items():
            parameter.copy_(next(rows[group(name, parameter)]))
    for name, tensor in whole.items():
        tensor.copy_(tensors[name])
    for name, parameter in own.items():  # what was trained then is what trains now
        parameter.requires_grad_(name in other)
