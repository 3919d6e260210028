"""Adapters that were trained elsewhere, put into a store beside its runs, to be looked at like theirs."""

import contextlib
import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from vxlab.adapters import TARGET_SETS, Head, resolve_targets, save_adapter, trainable_parameters, updated_layers
from vxlab.adapters.core import weights_fingerprint
from vxlab.adapters.placement import attachment_of
from vxlab.adapters.saving import trained_state
from vxlab.checks import quote, settle
from vxlab.errors import VxlabError
from vxlab.experiments import ADAPTER_FOLDER, IMPORTED, RunRecord, RunSpec, library_versions
from vxlab.experiments.imports.folder_updates import is_adapter_folder, labels_for, load_onto
from vxlab.experiments.models import model_fingerprint, open_weights
from vxlab.experiments.store import Store, Where, open_store, run_folder
from vxlab.progress import progress_bar


def import_adapter(folder: str | Path, base: str | Path, *, store: Where = None) -> RunRecord:
    """Put an adapter that was trained elsewhere into a store, without training, to be looked at like a run's.

    The update explorer, :func:`vxlab.studies.updates.pair_table` and the studies of subspaces and of weight similarity
    take what is returned in the place of a trained run's record. It has no task and no scores: no comparison, sweep or
    verdict counts it, and it lies in the store apart from the runs, in vxlab's own format.

    Args:
        folder: what :func:`vxlab.save_adapter`, the peft library or LoRA-XS's released code wrote.
        base: the packaged name, hub id or folder of the model that it was trained on.
        store: as :func:`vxlab.run` takes it.

    Returns:
        A record with the status ``imported``. Its key is a sha256 over the base and the adapter, so that one adapter
        on one base is there once.

    Raises:
        VxlabError: the folder holds no adapter or a damaged one, or several; or it is of another base.
    """
    place, name = _folder(folder), str(settle("base", str(base), str))
    if not is_adapter_folder(place):
        below = [path.name for path in _below(place)]
        more = f"; it holds {len(below)} that do ({below[0]}, …): import_adapters takes them all" if below else ""
        raise VxlabError(f"folder={str(place)!r} holds no adapter{more}")
    with open_store(store) as results:
        # A folder that is called what every run's is says less than the one that it lies in.
        told = f"{place.parent.name}/{place.name}" if place.name == ADAPTER_FOLDER else place.name
        return _imported(place, told, name, model_fingerprint(name), results)


def import_adapters(folder: str | Path, base: str | Path, *, store: Where = None) -> dict[str, RunRecord]:
    """Import every adapter in the subfolders of a folder, such as those of a whole sweep or of other people.

    Args:
        folder: its subfolders, at any depth, hold adapters on one base; what else lies there is passed over.
        base: as :func:`import_adapter` takes it.
        store: as :func:`vxlab.run` takes it.

    Returns:
        Their records by the subfolder's path within ``folder``, in alphabetical order.

    Raises:
        VxlabError: there is no adapter, or one cannot be imported: it is named.
    """
    place, name = _folder(folder), str(settle("base", str(base), str))
    found = list(_below(place))
    if not found:
        raise VxlabError(f"folder={str(place)!r} has no adapter in its subfolders; import_adapter takes one folder")
    records, fingerprint = {}, model_fingerprint(name)
    with open_store(store) as results, progress_bar(len(found), "importing adapters", "adapter") as bar:
        for path in found:
            told = path.relative_to(place).as_posix()
            records[told] = _imported(path, told, name, fingerprint, results)
            bar.update()
    return records


def _folder(folder: object) -> Path:
    if not isinstance(folder, str | Path):
        raise VxlabError(f"folder={quote(folder)} is no path; name the folder of an adapter")
    place = Path(folder).expanduser().absolute()
    if not place.is_dir():
        raise VxlabError(f"folder={str(place)!r} is not there; name the folder of an adapter")
    return place


def _below(folder: Path) -> Iterator[Path]:
    """Yield the folders with an adapter under a folder."""
    for path in sorted(each for each in folder.iterdir() if each.is_dir() and not each.is_symlink()):
        if is_adapter_folder(path):
            yield path
        else:
            yield from _below(path)


def _imported(folder: Path, name: str, base: str, fingerprint: str, store: Store) -> RunRecord:
    model = load_onto(folder, base)
    key = _key(model, fingerprint)
    if (there := store.imports.record(key)) is not None:
        return there
    store.require_writable()
    place = store.imports.folder_of(key)
    save_adapter(model, place / ADAPTER_FOLDER)
    known = {"model": base, "targets": _targets(model, base), "adapter": name}
    record = _record(key, known, {"model": fingerprint}, labels_for(folder, base), model, place)
    store.imports.keep(record)  # last: without it the folder holds nothing
    return record


def _key(model: nn.Module, fingerprint: str) -> str:
    attached = attachment_of(model)
    content = {
        "base": fingerprint,
        "method": [attached.method.name, attached.method.settings()],
        "layers": list(attached.layers),
        "frozen": dict(attached.fingerprints),
        "trained": weights_fingerprint(trained_state(model)),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _record(
    key: str, known: Mapping[str, Any], identity: dict[str, str], num_labels: int, model: nn.Module, folder: Path
) -> RunRecord:
    """Return a record that holds what is known, and nothing in the place of what is not."""
    method, counts = attachment_of(model).method, trainable_parameters(model)
    return RunRecord(
        key=key,
        spec={**dict.fromkeys(_fields()), **known, "method": {"name": method.name, **method.settings()}},
        status=IMPORTED,
        task={"num_labels": num_labels, "label_names": []},
        metrics=[],
        curve=[],
        best_epoch=None,
        parameters={"backbone": counts.backbone, "head": counts.head, "total": counts.total},
        layers=len(attachment_of(model).layers),
        bytes_stored=run_folder.size(folder / ADAPTER_FOLDER),
        steps=0,
        step_seconds=float("nan"),
        train_seconds=0.0,
        peak_memory=0,
        precision="float32",
        hardware={},
        versions=library_versions(),
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        folder=folder,
        identity=identity,
    )


def _fields() -> list[str]:
    """Return the names that every run's settings have: their values are not known here."""
    return list(RunSpec(method=Head(), learning_rate=1.0, head_learning_rate=1.0).settings())


def _targets(model: nn.Module, base: str) -> str | list[str]:
    """Return the layers as a target set or by the ends of their names where these say it all, else by their names."""
    own, weights = list(updated_layers(model)), open_weights(base, "base")
    ends = sorted({layer.rpartition(".")[2] for layer in own})
    said: list[str | list[str]] = [*TARGET_SETS, ends]
    for targets in said:
        with contextlib.suppress(VxlabError):  # this model may have no such layers
            found = resolve_targets(weights.skeleton, targets)
            if {weights.full_name(weights.plain_name(name)) for name in found} == set(own):
                return targets
    return own
