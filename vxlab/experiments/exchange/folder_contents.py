"""What a folder holds: a run, an adapter of whatever origin, or a whole model; read from its files, without a model."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.adapters import SavedAdapter
from vxlab.adapters.interop import is_peft_folder
from vxlab.adapters.saving import SETTINGS_FILE, read_settings
from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments import ADAPTER_FOLDER, RunRecord, method_label
from vxlab.experiments.exchange.adapter_layers import read_layers
from vxlab.experiments.exchange.export_folder import read_mark
from vxlab.experiments.exchange.layer_shapes import shapes_of_base
from vxlab.experiments.exchange.source import run_of
from vxlab.experiments.exchange.whole_model import describe_whole_model
from vxlab.words import in_bytes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FolderContents:
    """What a folder holds."""

    kind: str
    """in words, such as ``an adapter of vxlab's``"""
    facts: Mapping[str, str]
    """in words, by name: its base, settings, sizes, and the run it is of"""
    layers: "pd.DataFrame"
    """a row a layer: ``layer``, ``out``, ``in``, ``rank``, ``trained`` (numbers), ``norm`` (‖ΔW‖_F); of a whole model,
    a row for the weights of one name in all blocks. NaN is what the files do not tell"""


def inspect_folder(folder: str | os.PathLike[str], base: str | None = None) -> FolderContents:
    """Return what a folder holds, of its files alone: no weights of a base are read, and nothing is run.

    Args:
        folder: a run's, an adapter's (vxlab's, PEFT's, LoRA-XS's released code's), or a whole model's.
        base: a model whose config tells the layers' shapes, where an adapter of vxlab's holds layers of several; of a
            run it is known.

    Raises:
        VxlabError: the folder holds none of these, or its files are damaged.
    """
    folder = Path(settle("folder", folder, str)).expanduser()
    if not folder.is_dir():
        raise VxlabError(f"folder={str(folder)!r} is no folder; name that of a run, of an adapter or of a model")
    record = run_of(folder)
    if record is not None:
        return _run(record, folder, base)
    if is_peft_folder(folder) or (folder / SETTINGS_FILE).is_file():
        return _adapter(folder, base)
    if (folder / "config.json").is_file():
        kind, facts, layers = describe_whole_model(folder)
        return FolderContents(kind, facts | _exported(folder), layers)
    raise VxlabError(
        f"{folder} holds neither a run's record.json, {SETTINGS_FILE} of an adapter of vxlab's, adapter_config.json of "
        "PEFT's nor config.json of a model"
    )


def _run(record: RunRecord, folder: Path, base: str | None) -> FolderContents:
    adapter = folder if folder.name == ADAPTER_FOLDER else folder / ADAPTER_FOLDER
    metric = record.task["metrics"][0]
    facts = {
        "run": record.key,
        "status": record.status,
        "method": method_label(record.spec["method"]),
        "base": f"{record.spec['model']}, {record.identity.get('model', 'fingerprint not recorded')}",
        "task": str(record.task["name"]),
        f"test {metric}": f"{record.score():.4f}",
    }
    held = _adapter(adapter, base or record.spec["model"], record.task["num_labels"])
    facts |= {name: value for name, value in held.facts.items() if name not in facts}
    return FolderContents(
        "a run of vxlab's" if record.trains else "a run of vxlab's, without an adapter", facts, held.layers
    )


def _adapter(folder: Path, base: str | None, labels: int | None = None) -> FolderContents:
    saved, layers, note = read_layers(folder, shapes_of_base(base, labels) if base else {})
    facts = {
        **(_of_settings(read_settings(folder)) if (folder / SETTINGS_FILE).is_file() else _of_config(saved)),
        "adapted layers": f"{len(layers):,}",
        **({"rank": ", ".join(map(str, sorted(set(saved.ranks.values()))))} if saved and saved.ranks else {}),
        **({"numbers held": _numbers(saved)} if saved else {}),
        "size": in_bytes(sum(path.stat().st_size for path in folder.glob("adapter*.safetensors"))),
        **({"note": note} if note else {}),
    }
    return FolderContents(_KINDS[saved.kind if saved else "vxlab"], facts | _exported(folder), layers)


_KINDS = {
    "vxlab": "an adapter of vxlab's",
    "peft": "an adapter in PEFT's format",
    "lora-xs": "a LoRA-XS adapter as its released code writes it",
}


def _of_settings(saved: Mapping[str, Any]) -> dict[str, str]:
    """Return what vxlab's own settings file tells."""
    return {
        "method": method_label({"name": saved["method"], **saved["settings"]}),
        "settings": json.dumps({name: _cut(value) for name, value in saved["settings"].items()}),
        "base": f"not named; sha256 of its frozen weights {saved['base']['sha256']}",
        "saved by": f"vxlab {saved.get('vxlab', 'of before')}, torch {saved.get('torch', 'not recorded')}",
    }


def _of_config(saved: SavedAdapter | None) -> dict[str, str]:
    """Return what PEFT's settings file tells."""
    assert saved is not None
    config = saved.config
    given = {name: value for name, value in sorted(config.items()) if name not in _ELSEWHERE and value not in _UNSET}
    return {
        "method": method_label({"name": saved.method, **saved.settings}),
        "settings": json.dumps({name: _cut(value) for name, value in given.items()}),
        "base": ", ".join(str(each) for each in (saved.base, config.get("revision")) if each) or "not named",
        "task": str(config.get("task_type") or "not named"),
        "saved by": f"peft {config.get('peft_version') or 'of a version that it does not name'}",
    }


def _cut(value: Any) -> Any:
    """Return a setting as a line tells it: of many ranks by layer how many, for the rows below have each."""
    return f"of {len(value)} names" if isinstance(value, Mapping) and len(value) > _MOST_NAMED else value


_MOST_NAMED = 3
"""Ranks by layer that a line of settings names."""
_ELSEWHERE = ("base_model_name_or_path", "revision", "task_type", "peft_version")
_UNSET: tuple[Any, ...] = (None, False, [], {}, "")


def _numbers(saved: SavedAdapter) -> str:
    return f"{saved.parameters:,} of the adapter, {saved.other_parameters:,} of the head and other weights"


def _exported(folder: Path) -> dict[str, str]:
    """Return what the mark of an exported folder says."""
    mark = read_mark(folder)
    if not mark:
        return {}
    told = f"vxlab {mark.get('vxlab')}, as {mark.get('kind')}, of {mark.get('method')}"
    return {"exported by": told + (f", from run {mark['run']}" if "run" in mark else "")}
