"""Runs that ended, made up, in stores and in files of the atlas."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_records import IDENTITY, diverged_record, logits_with, run_record, toy_spec

from vxlab.experiments.atlas import additions, shipped
from vxlab.experiments.record import RunRecord
from vxlab.experiments.spec import run_key
from vxlab.experiments.store.store import Store

ITEMS = 60
_LABELS = np.random.default_rng(0).integers(2, size=ITEMS)


def keep_atlas_within(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the cache, the user's own atlas and what comes with vxlab, of which there is nothing, into a folder."""
    monkeypatch.setenv("VXLAB_CACHE", str(folder / "cache"))
    monkeypatch.setenv("VXLAB_ATLAS", str(folder / "own"))
    for module in (shipped, additions):
        monkeypatch.setattr(module, "shipped_path", lambda *parts: folder.joinpath("installation", *parts))


def toy_run(runs: Path, seed: int = 0, identity: dict[str, str] = IDENTITY, **changed: Any) -> RunRecord:
    """Return a finished run on two classes, right on about 7 of 10 items, under its own key."""
    right = np.random.default_rng(seed).random(ITEMS) < 0.7
    logits = changed.pop("logits", logits_with(right, _LABELS) * np.float32(2.5))
    labels, fields = changed.pop("labels", _LABELS), changed.pop("fields", {})
    spec = toy_spec(seed=seed, **fields)
    key = run_key(spec, identity)
    return run_record(runs / key[:16], logits, labels, key=key, spec=spec, identity=identity, **changed)


def fill_store(where: Path, *seeds: int, diverged: int | None = None, **changed: Any) -> Store:
    """Return a store of such runs, and of one that diverged where its seed is named."""
    store = Store(where)
    for seed in seeds:
        record = toy_run(store.folder, seed, **changed)
        store.finish(record, "me")
    if diverged is not None:
        like = toy_run(store.folder, diverged)
        fields = {"key": like.key, "folder": like.folder}
        broken = diverged_record(like.folder, like)
        store.finish(RunRecord(**{**{f: getattr(broken, f) for f in RunRecord.__dataclass_fields__}, **fields}), "me")
    return store


def change_row(row: dict[str, Any], column: str, **changed: Any) -> dict[str, Any]:
    """Return a row of an atlas with fields of one of its JSON columns changed."""
    return {**row, column: json.dumps(json.loads(row[column]) | changed)}
