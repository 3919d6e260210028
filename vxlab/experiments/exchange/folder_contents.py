"""What a folder holds: a run, an adapter of whatever origin, or a whole model; read from its files, without a model."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.adapters.saving import SETTINGS_FILE, TENSORS_FILE, read_settings
from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments import ADAPTER_FOLDER, RunRecord, method_label
from vxlab.experiments.exchange.adapter_head import PEFT_TENSORS
from vxlab.experiments.exchange.export_folder import read_mark
from vxlab.experiments.exchange.layer_shapes import shapes_of_base
from vxlab.experiments.exchange.own_tensors import read_own_layers
from vxlab.experiments.exchange.peft_tensors import read_peft_layers
from vxlab.experiments.exchange.source import PEFT_SETTINGS, run_of
from vxlab.experiments.exchange.whole_model import describe_whole_model
from vxlab.words import in_bytes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FolderContents:
    """What a folder holds."""

    kind: str
    """in words, such as ``an adapter of vxlab's`` or ``a LoRA in PEFT's format``"""
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
    if (folder / SETTINGS_FILE).is_file():
        return _own(folder, base)
    if (folder / PEFT_SETTINGS).is_file():
        return _peft(folder)
    if (folder / "config.json").is_file():
        kind, facts, layers = describe_whole_model(folder)
        return FolderContents(kind, facts | _exported(folder), layers)
    raise VxlabError(_nothing_known(folder))


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
    held = _own(adapter, base or record.spec["model"], record.task["num_labels"])
    facts |= {name: value for name, value in held.facts.items() if name not in facts}
    return FolderContents(
        "a run of vxlab's" if record.trains else "a run of vxlab's, without an adapter", facts, held.layers
    )


def _own(folder: Path, base: str | None, labels: int = 2) -> FolderContents:
    saved = read_settings(folder)
    layers, head, note = read_own_layers(folder, saved, shapes_of_base(base, labels) if base else {})
    settings = {"name": saved["method"], **saved["settings"]}
    facts = {
        "method": method_label(settings),
        "settings": json.dumps(saved["settings"]),
        "base": f"not named; sha256 of its frozen weights {saved['base']['sha256'] or 'not kept'}",
        **_sizes(layers, head, folder / TENSORS_FILE),
        "saved by": f"vxlab {saved.get('vxlab', 'of before')}, torch {saved.get('torch', 'not recorded')}",
        **({"note": note} if note else {}),
    }
    return FolderContents("an adapter of vxlab's", facts, layers)


def _peft(folder: Path) -> FolderContents:
    try:
        config = json.loads((folder / PEFT_SETTINGS).read_text(encoding="utf-8"))
        name = str(config["peft_type"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise VxlabError(f"{folder / PEFT_SETTINGS} is damaged, or no settings of PEFT's ({error})") from error
    if not (folder / PEFT_TENSORS).is_file():
        pickled = " beside pickled weights, which are not read" if (folder / "adapter_model.bin").is_file() else ""
        raise VxlabError(f"{folder} lacks {PEFT_TENSORS}{pickled}; save the adapter again with safetensors")
    kind, layers, head = read_peft_layers(folder / PEFT_TENSORS, config, name)
    given = {key: value for key, value in sorted(config.items()) if key not in _ELSEWHERE and value not in _UNSET}
    facts = {
        "method": name,
        "settings": json.dumps(given),
        "base": _named(config, "base_model_name_or_path", "revision") or "not named",
        "task": str(config.get("task_type") or "not named"),
        **_sizes(layers, head, folder / PEFT_TENSORS),
        "saved by": f"peft {config.get('peft_version') or 'of a version that it does not name'}",
    }
    return FolderContents(kind, facts | _exported(folder), layers)


_ELSEWHERE = ("peft_type", "base_model_name_or_path", "revision", "task_type", "peft_version")
_UNSET: tuple[Any, ...] = (None, False, [], {}, "")


def _named(config: Mapping[str, Any], *names: str) -> str:
    return ", ".join(str(config[name]) for name in names if config.get(name))


def _sizes(layers: "pd.DataFrame", head: int, file: Path) -> dict[str, str]:
    ranks = sorted({int(rank) for rank in layers["rank"].dropna()})
    return {
        "adapted layers": f"{len(layers):,}",
        **({"rank": ", ".join(map(str, ranks))} if ranks else {}),
        "numbers held": f"{int(layers.attrs['held']):,} of the adapter, {head:,} of the head and other weights",
        "size": in_bytes(file.stat().st_size),
    }


def _exported(folder: Path) -> dict[str, str]:
    """Return what the mark of an exported folder says."""
    mark = read_mark(folder)
    if not mark:
        return {}
    told = f"vxlab {mark.get('vxlab')}, as {mark.get('kind')}"
    return {"exported by": told + (f", from run {mark['run']}" if "run" in mark else "")}


def _nothing_known(folder: Path) -> str:
    inside = sorted(path.parent.name for path in folder.glob(f"*/{PEFT_SETTINGS}"))
    if inside:
        return f"{folder} holds several adapters, each in a folder of its own ({', '.join(inside)}); name one of these"
    return (
        f"{folder} holds neither a run's record.json, {SETTINGS_FILE} of an adapter of vxlab's, {PEFT_SETTINGS} of "
        "PEFT's nor config.json of a model"
    )
