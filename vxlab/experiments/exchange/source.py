"""What is exported: a model with what was trained on it, the run that trained it where there is one, and its base."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vxlab.adapters import Method, ParameterCount, adapted_layers, load_adapter, trainable_parameters
from vxlab.adapters.core import has_values
from vxlab.adapters.placement import attachment_of, bare, quantisations
from vxlab.adapters.saving import SETTINGS_FILE, read_settings
from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments import ADAPTER_FOLDER, IMPORTED, RECORD_FILE, RunRecord, method_label
from vxlab.experiments.exchange.adapter_head import count_labels
from vxlab.experiments.exchange.bases import packaged_name
from vxlab.experiments.exchange.export_folder import read_mark
from vxlab.experiments.models import load_model, usual_labels
from vxlab.experiments.runs import load_trained

PEFT_SETTINGS = "adapter_config.json"


@dataclass(frozen=True)
class Source:
    """A trained model, unmerged and in evaluation mode, with what is known of where it comes from."""

    model: nn.Module
    base: str
    """the name under which its base is loaded; "" where that is not known"""
    record: RunRecord | None
    """of the run that trained it here"""
    folder: Path | None
    """that it was read from; None of a model in memory, which is its owner's and must not be changed"""
    method: Method
    layers: tuple[str, ...]
    """the adapted ones, by dotted name"""
    parameters: ParameterCount
    quantised: tuple[str, ...]
    """the schemes by which weights of its base are quantised; mostly none"""


def open_source(given: Any, base: str | None = None) -> Source:
    """Return what is to be exported, its base loaded and its adapter on it where it is a run or a folder.

    Args:
        given: a model with a method attached, a run's record, or a folder: of a run, of an adapter of vxlab's, or of
            one that :func:`vxlab.load_adapter` takes from elsewhere.
        base: the base model's name or folder, where the source does not say it, or says another place.

    Raises:
        VxlabError: it is none of these, trained no adapter, did not finish, is merged, or its base is not to be had,
            not known or another.
    """
    if isinstance(given, RunRecord):
        return _of_run(given, base)
    if isinstance(given, nn.Module):
        return _of_model(given, base)
    if not isinstance(given, str | os.PathLike):
        raise VxlabError(
            f"model_or_folder={quote(given)} is neither a model, a run's record nor a folder; give what vxlab.attach "
            "or vxlab.run returned, or the folder of a run or of an adapter"
        )
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise VxlabError(
            f"model_or_folder={str(given)!r} is no folder; name that of a run or of an adapter, or give the model or "
            "the run's record, vxlab.Store().record(key)"
        )
    record = run_of(folder)
    return _of_run(record, base) if record is not None else _of_adapter(folder, base)


def run_of(folder: Path) -> RunRecord | None:
    """Return the record of the run that a folder is, or whose adapter's folder it is; None where it is of no run.

    Raises:
        VxlabError: there is a record that this version cannot read.
    """
    home = folder if (folder / RECORD_FILE).is_file() else folder.absolute().parent
    if home != folder and folder.absolute().name != ADAPTER_FOLDER:
        return None
    record = RunRecord.load(home)
    if record is None and home == folder:
        raise VxlabError(
            f"{folder / RECORD_FILE} is damaged, or of another version of vxlab; name {folder / ADAPTER_FOLDER}, and "
            "its base with base=..."
        )
    return record


def _of_model(model: nn.Module, base: str | None) -> Source:
    if type(model).__module__.startswith("peft."):
        raise VxlabError(
            f"the model is peft's own {type(model).__name__}, which saves itself by model.save_pretrained(folder); to "
            "export it otherwise, give that folder, with its base by base=..."
        )
    attachment_of(model)  # or there is none
    if any(layer.merged for layer in adapted_layers(model).values()):
        raise VxlabError("the model is merged, so its adapter is not apart from its base; call unmerge(model) first")
    named = getattr(bare(model), "name_or_path", "")
    return _source(model, base or packaged_name(named if isinstance(named, str) else ""), None, None)


def _of_run(record: RunRecord, base: str | None) -> Source:
    what = f"run {record.key[:12]} ({method_label(record.spec['method'])})"
    if record.status not in ("finished", IMPORTED):
        raise VxlabError(f"{what} {record.status}, so what it trained is not to be served; give a run that finished")
    if not record.trains:
        kind = "fits a probe beside the frozen model" if record.probe else "is the base as it is"
        raise VxlabError(f"{what} {kind}, so there is no adapter to export; give a run that trained one")
    if base is not None:
        record = dataclasses.replace(record, spec={**record.spec, "model": base})  # whose weights are compared below
    with torch.random.fork_rng(devices=[]):
        model = load_trained(record)
    told = None if record.status == IMPORTED else record  # of an import nothing but its adapter is known
    return _source(model, record.spec["model"], told, record.folder)


def _require_finite(model: nn.Module) -> None:
    """Refuse what diverged by its values: an attention of torch's on a CPU makes finite answers of a NaN query."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and has_values(parameter) and not parameter.isfinite().all():
            raise VxlabError(f"`{name}` was trained to values that are not finite, so there is nothing to serve")


def _of_adapter(folder: Path, base: str | None) -> Source:
    known = [name for name in (SETTINGS_FILE, PEFT_SETTINGS) if (folder / name).is_file()]
    if not known:
        raise VxlabError(
            f"{folder} holds neither {RECORD_FILE} of a run, {SETTINGS_FILE} of an adapter of vxlab's nor "
            f"{PEFT_SETTINGS} of PEFT's; vxlab inspect {folder} says what it is"
        )
    base = base or named_base(folder)
    if not base:
        raise VxlabError(f"{folder} does not say on which base it was trained; name it with base=...")
    labels = count_labels(folder, base)
    if labels == 0 and usual_labels(base):
        raise VxlabError(
            f"{folder} holds no head, and {base} is no model that writes, so with which head it answers is not known; "
            "load it in your own code, and export that: export_adapter(vxlab.load_adapter(model, folder), path)"
        )
    with torch.random.fork_rng(devices=[]):  # the values of the head that is loaded are overwritten
        model = load_adapter(load_model(base, labels, _quantisation(folder, base)), folder)
    return _source(model.eval(), base, None, folder)


def _source(model: nn.Module, base: str, record: RunRecord | None, folder: Path | None) -> Source:
    attachment = attachment_of(model)
    _require_finite(model)
    schemes = tuple(each.scheme for each in quantisations(model))
    counts = trainable_parameters(model)
    return Source(model, base, record, folder, attachment.method, attachment.layers, counts, schemes)


def _quantisation(folder: Path, base: str) -> str | None:
    """Return the scheme by which an adapter's base is quantised when it is loaded; None of one whose files are so."""
    told = read_settings(folder).get("quantisation") if (folder / SETTINGS_FILE).is_file() else None
    saved_so = "quantization_config" in _json(Path(base).expanduser() / "config.json")
    return str(told[0]["scheme"]) if told and not saved_so else None


def _json(path: Path) -> dict[str, Any]:
    """Return what a file of settings holds, nothing where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def reads_tokens(model: nn.Module) -> bool:
    """Say whether a model of transformers reads texts."""
    return getattr(model, "main_input_name", None) == "input_ids"


def reads_pixels(model: nn.Module) -> bool:
    """Say whether a model of transformers reads images."""
    return getattr(model, "main_input_name", None) == "pixel_values"


def named_base(folder: Path) -> str:
    """Return the base that an adapter's folder names, as exported ones and PEFT's do; "" where it names none."""
    if told := str(read_mark(folder).get("base", "")):
        return told
    named = _json(folder / PEFT_SETTINGS).get("base_model_name_or_path")
    return named if isinstance(named, str) else ""
