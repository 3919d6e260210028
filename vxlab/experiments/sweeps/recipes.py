"""Settings that work: for a smoke test, for a laptop, and those that the papers published."""

import csv
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vxlab.adapters import method_from_name
from vxlab.checks import require_known, settle
from vxlab.errors import VxlabError
from vxlab.experiments import TASK_FIELDS, RunSpec, find_task
from vxlab.experiments.sweeps.rates import CENTRES
from vxlab.experiments.sweeps.scales import presets, scale_settings
from vxlab.experiments.tasks import glue_name
from vxlab.paths import shipped_path

_HEAD_RATE = 5e-3
_FIELDS = [each.name for each in fields(RunSpec) if each.name != "method"]


def recipe(method: str = "vera", *, scale: str = "small", **chosen: Any) -> RunSpec:
    """Return a run's spec: the scale's settings, overridden by what is chosen.

    Args:
        method: ``lora``, ``vera`` (or ``elora``), ``lora_xs``, ``head``, ``probe`` or ``full``; or another by its
            name, as it comes, which names its ``learning_rate`` where no usual one is known.
        scale: ``smoke`` (64 sentences, seconds: shows that everything runs, its scores mean nothing), ``small``
            (minutes on a laptop) or ``paper`` (the published settings for the method, model and task, for a GPU).
        chosen: ``rank`` and ``alpha`` of the method, and any field of :class:`RunSpec`; None keeps the scale's. Local
            files with fewer training rows than the scale draws are taken whole.

    Raises:
        VxlabError: the method or scale is unknown, a method's rate is neither known nor chosen, or no published
            settings exist for this combination.

    >>> recipe("lora_xs", rank=8).method
    LoRAXS(rank=8, alpha=None, sigma='input', basis='top', seed=0)
    """
    usual = scale_settings("run", scale)
    name = method_from_name(method).name
    chosen = {key: value for key, value in chosen.items() if value is not None}
    require_known(chosen, ["rank", "alpha", *_FIELDS], "a recipe has no field")
    if scale == "paper":
        settings = _published(name, usual, chosen)
    else:
        by_method = _usual(name, chosen)
        settings = by_method | usual
        if "rank" not in by_method:
            settings.pop("rank", None)
    settings |= chosen
    of_method = {key: settings.pop(key) for key in ("rank", "alpha") if key in settings}
    settings = fit_train_examples(settings, chosen)
    return RunSpec(method=method_from_name(name, **of_method), **settings)


def fit_train_examples(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Let a run take all training rows of local files that have fewer than a scale draws; what is chosen stays.

    Where shots are chosen, these are the rows, and the scale's number falls away. Files that are named are read for it,
    a hub is not asked. Where they cannot be read, the run says why.

    Args:
        settings: a scale's fields of :class:`RunSpec`, with what is chosen.
        chosen: what the caller named.
    """
    drawn = settings.get("train_examples")
    named = chosen.get("task_folder") or chosen.get("task")
    if chosen.get("shots") is not None and "train_examples" not in chosen:
        return {**settings, "train_examples": None}
    if drawn is None or "train_examples" in chosen or not _is_there(named):
        return dict(settings)
    fields = [name for name in TASK_FIELDS if name in settings and name != "train_examples"]
    whole = find_task({name: settings[name] for name in fields})
    if whole is None:
        return dict(settings)
    return {**settings, "train_examples": drawn if drawn <= len(whole.splits["train"]) else None}


def _is_there(named: object) -> bool:
    return isinstance(named, str | os.PathLike) and os.path.exists(os.path.expanduser(named))


def _usual(name: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    if name in (known := presets("run.methods")):
        return dict(known[name])
    rate = chosen.get("learning_rate") or CENTRES.get(name)
    if rate is None:
        raise VxlabError(f"method={name!r} has no usual learning rate here; give learning_rate, such as 2e-3")
    return {"learning_rate": rate, "head_learning_rate": _HEAD_RATE}


def _published(method: str, defaults: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    if method not in defaults:
        known = ", ".join(defaults)
        raise VxlabError(f"scale='paper' has no published settings for method={method!r}; they are there for {known}")
    wanted = {key: settle(key, chosen.get(key, defaults[method][key]), str) for key in ("model", "task")}
    wanted["task"] = glue_name(wanted["task"]) or wanted["task"]
    with shipped_path("data", "published_recipes.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == method]
    for row in rows:
        if (row["model"], row["task"]) == (wanted["model"], wanted["task"]):
            return _typed(row)
    listed = sorted({f"{row['model']} on {row['task']}" for row in rows})
    raise VxlabError(
        f"scale='paper' has no published settings for {method} with model={wanted['model']!r} on "
        f"task={wanted['task']!r}; they are there for {', '.join(listed)}"
    )


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    whole = ("rank", "epochs", "batch_size", "max_length")
    real = ("alpha", "learning_rate", "head_learning_rate", "warmup")
    typed: dict[str, Any] = {key: row[key] for key in ("model", "task", "targets")}
    typed |= {key: int(row[key]) for key in whole}
    return typed | {key: float(row[key]) for key in real if row[key]}
