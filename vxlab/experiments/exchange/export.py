"""Export what was trained: PEFT's own folder, a plain LoRA, or a whole model, with a card that says what it is."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vxlab._version import __version__
from vxlab.adapters import Family, LoRA, VeRA, save_adapter, write_peft
from vxlab.adapters.placement import bare
from vxlab.checks import require_choice, settle
from vxlab.errors import VxlabError
from vxlab.experiments import method_label
from vxlab.experiments.exchange.bases import BaseName, name_base
from vxlab.experiments.exchange.export_folder import new_export, require_free
from vxlab.experiments.exchange.image_settings import served_processor
from vxlab.experiments.exchange.merged_folder import DTYPES, MergeLoss, write_merged
from vxlab.experiments.exchange.model_card import write_card
from vxlab.experiments.exchange.source import Source, open_source, reads_pixels

if TYPE_CHECKING:
    from torch import nn

    from vxlab.experiments import RunRecord

_TASK_TYPES = {"ForSequenceClassification": "SEQ_CLS", "ForCausalLM": "CAUSAL_LM", "LMHeadModel": "CAUSAL_LM"}
"""PEFT's names of tasks, by how transformers ends the names of its classes."""
FORMATS = ("peft", "lora", "merged", "vxlab")


def export_adapter(
    model_or_folder: "nn.Module | RunRecord | str | os.PathLike[str]",
    path: str | os.PathLike[str],
    format: str = "peft",
    base: str | None = None,
    dtype: str = "float32",
) -> Path:
    """Write what was trained into a folder that other programs load, with a model card.

    Args:
        model_or_folder: a model with a method attached, the record of a run, or a folder: of a run, of an adapter of
            vxlab's, or of one of PEFT's or of LoRA-XS's released code.
        path: a folder that is not there yet, is empty, or was exported before and not touched since, which is then
            replaced. It is written whole or not at all.
        format: ``peft`` is PEFT's own folder for the method; ``lora`` a plain LoRA, the same update without loss, which
            any server of LoRAs takes; ``merged`` a whole model as ``from_pretrained`` loads it, without adapters;
            ``vxlab`` the two files of :func:`vxlab.save_adapter`, of an adapter that came from elsewhere.
        base: the base's name or folder, where the source does not say it (a folder of vxlab's adapter does not), or
            where it has moved.
        dtype: of the weights of ``merged``: ``float32``, ``bfloat16`` or ``float16``. Merging itself is in float32,
            and what the cast loses stands in the card.

    Returns:
        The folder.

    Raises:
        VxlabError: an argument is unknown, the place is taken, there is no trained adapter or its base is not to be
            had, or the method cannot be said in this format.
    """
    require_choice("format", format, FORMATS)
    require_choice("dtype", dtype, DTYPES)
    if dtype != "float32" and format != "merged":
        raise VxlabError(f"dtype={dtype!r} is of format='merged' alone; an adapter is written in its own precision")
    target = Path(settle("path", path, str)).expanduser().resolve()
    require_free(target)
    source = open_source(model_or_folder, settle("base", base, str | None))
    if source.folder is not None and source.folder.resolve() == target:
        raise VxlabError(f"path={str(path)!r} is what is exported; give another folder")
    _require_fit(source, format)
    with new_export(target) as (folder, mark):
        named = name_base(source.base, source.record.identity if source.record else {})
        loss = _write(source, named, folder, format, dtype)
        (folder / "README.md").write_text(write_card(source, named, format, target.name, loss), encoding="utf-8")
        mark |= {
            "kind": format,
            "method": method_label(source.method),
            "base": named.name,
            "base_fingerprint": named.fingerprint,
            "vxlab": __version__,
        }
        mark |= {"run": source.record.key} if source.record else {}
    return target


def _require_fit(source: Source, format: str) -> None:
    """Refuse a format in which a method cannot be said."""
    method = source.method
    own = isinstance(method, Family) and not isinstance(method, LoRA | VeRA)
    if format == "peft" and (own or (isinstance(method, VeRA) and method.unique)):
        raise VxlabError(
            f"format='peft': the peft library has no {method}; take format='lora', which writes the same update as a "
            "plain LoRA, without loss"
        )
    if format == "peft" and isinstance(method, VeRA) and len(set(map(method.at, source.layers))) > 1:
        raise VxlabError(
            f"format='peft': the peft library's VeRA has one rank, and {method} several; take format='lora', which "
            "writes the same update as a plain LoRA, without loss"
        )
    if format in ("peft", "lora") and not method.on_layers:
        raise VxlabError(
            f"format={format!r}: {method} puts no adapter on a layer; take format='merged', which writes the "
            "whole model"
        )


def _write(source: Source, base: BaseName, folder: Path, format: str, dtype: str) -> MergeLoss | None:
    """Write all but the card; return what merging lost."""
    if format == "merged":
        return write_merged(source, folder, dtype)
    if format == "vxlab":
        save_adapter(source.model, folder)
    else:
        write_peft(
            source.model,
            folder,
            as_lora=format == "lora",
            base_model=base.hub_id or base.name or None,
            revision=base.fingerprint if base.is_commit else None,
            task_type=_task_type(source),
        )
        if source.base and reads_pixels(bare(source.model)):  # others prepare images as the run did
            served_processor(source).save_pretrained(folder)
    return None


def _task_type(source: Source) -> str | None:
    name = type(bare(source.model)).__name__
    return next((task for end, task in _TASK_TYPES.items() if name.endswith(end)), None)
