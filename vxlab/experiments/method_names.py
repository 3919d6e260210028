"""What a method is called in tables and figures."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vxlab.adapters import METHODS, Method
from vxlab.adapters.peft import rank_setting

NO_LAYERS = "none"
"""In a table, the targets of a method that goes on no layers."""

_BY_LAYER = "by layer"
"""What the names of families and methods hold that have ranks by layer, so that none is pooled with one of one rank."""

_OURS = {
    "lora": "LoRA",
    "vera": "VeRA",
    "lora_xs": "LoRA-XS",
    "lidb": "LiDB",
    "base": "untuned base",
    "bitfit": "BitFit",
    "head": "head only",
    "probe": "probe",
    "full": "full fine-tuning",
}
_PEFTS = {
    "adalora": "AdaLoRA",
    "delora": "DeLoRA",
    "dora": "DoRA",
    "fourierft": "FourierFT",
    "glora": "GLoRA",
    "gralora": "GraLoRA",
    "hira": "HiRA",
    "ia3": "IA³",
    "lily": "Lily",
    "ln_tuning": "LayerNorm tuning",
    "loha": "LoHa",
    "lokr": "LoKr",
    "lora": "LoRA",
    "miss": "MiSS",
    "poly": "Poly",
    "pvera": "PVeRA",
    "randlora": "RandLoRA",
    "road": "RoAd",
    "shira": "SHiRA",
    "tinylora": "TinyLoRA",
    "unilora": "Uni-LoRA",
    "vblora": "VB-LoRA",
    "vera": "VeRA",
    "waveft": "WaveFT",
}
"""Spellings that are no plain capitals, as their papers have them."""

_MOST_NAMED = 3
"""Ranks by layer, and layers, that a label shows each; of more ranks the lowest and the highest, of layers how many."""

_SIZES = (
    "aux_out", "aux_in",
    "u", "num_vectors", "n_frequency", "boft_block_size", "oft_block_size", "block_size", "group_size",
)  # fmt: skip
"""Of LiDB and of PEFT's methods: settings beside the rank, or in its place, that say how large the adapter is."""


def method_label(method: Method | Mapping[str, Any]) -> str:
    """Name a method with its rank, as a row of a table: ``LoRA r=8``, ``DoRA r=8 (PEFT)``, ``full fine-tuning``.

    LiDB and PEFT's methods also show the settings other than the rank that decide their size, where they were given.
    More than three ranks by layer are the lowest and the highest, and six digits of their sha256: two allocations never
    have one label.

    Args:
        method: a method, or its settings as a run's record keeps them, with its ``name``.

    >>> method_label({"name": "lora", "rank": 8, "alpha": 8})
    'LoRA r=8'
    >>> method_label({"name": "lora", "rank": 8, "trains": "B"})
    'LoRA-FA r=8'
    >>> method_label({"name": "lora", "rank": {"query": 4, "value": 16}})
    'LoRA r=4 (query), 16 (value)'
    >>> method_label({"name": "lora", "rank": {"query": 4, "key": 2, "value": 16, "output": 4}})
    'LoRA r=2–16 by layer (3219bc)'
    >>> method_label({"name": "peft:dora", "r": 8})
    'DoRA r=8 (PEFT)'
    >>> method_label({"name": "peft:fourierft", "n_frequency": 300})
    'FourierFT n_frequency=300 (PEFT)'
    """
    settings, rank = _settings(method), rank_of(method)
    own = settings["rank"] if has_ranks_by_layer(method) else rank
    ranks = [] if own is None else [ranks_in_words(own)]
    sizes = [f"{name}={settings[name]}" for name in _SIZES if name in settings]
    return " ".join([_spelled(method), *ranks, *sizes]) + _origin(method)


def describe_method(method: Method) -> str:
    """Name a method with its rank and every setting that is not its default.

    >>> from vxlab import VeRA
    >>> describe_method(VeRA(rank=64, vectors="d"))
    'VeRA r=64, vectors=d'
    """
    defaults = {each.name: each.default for each in dataclasses.fields(method)}
    changed = {name: value for name, value in method.settings().items() if value != defaults.get(name, value)}
    return ", ".join([method_label(method), *(f"{name}={value}" for name, value in changed.items() if name != "rank")])


def family_name(method: Method | Mapping[str, Any]) -> str:
    """Name a method without its rank, as a legend: ``LoRA``, ``LoRA by layer``, ``DoRA (PEFT)``, ``head only``.

    >>> family_name({"name": "peft:boft", "boft_block_size": 8})
    'BOFT (PEFT)'
    """
    ranks = f" {_BY_LAYER}" if has_ranks_by_layer(method) else ""
    return _spelled(method) + ranks + _origin(method)


def has_ranks_by_layer(method: Method | Mapping[str, Any] | str) -> bool:
    """Say whether a method, its settings, or what :func:`family_name` calls it, has ranks by layer.

    >>> has_ranks_by_layer({"name": "lora", "rank": {"query": 4}}), has_ranks_by_layer("LoRA by layer, epochs=2")
    (True, True)
    """
    return _BY_LAYER in method if isinstance(method, str) else isinstance(_settings(method).get("rank"), Mapping)


def ranks_in_words(rank: int | Mapping[str, int]) -> str:
    """Return a rank, or ranks by layer, as a label has them.

    >>> ranks_in_words(8), ranks_in_words({"value": 16, "query": 4})
    ('r=8', 'r=4 (query), 16 (value)')
    """
    if not isinstance(rank, Mapping):
        return f"r={rank}"
    ranks = dict(sorted(rank.items()))
    if len(ranks) <= _MOST_NAMED:
        return "r=" + ", ".join(f"{each} ({name})" for name, each in ranks.items())
    low, high = min(ranks.values()), max(ranks.values())
    digits = hashlib.sha256(json.dumps(ranks).encode()).hexdigest()[:6]
    return f"r={low if low == high else f'{low}–{high}'} {_BY_LAYER} ({digits})"


def layers(method: Method | Mapping[str, Any], targets: str | Sequence[str]) -> str:
    """Name the layers that a run adapted, as tables do: ``none`` where its method takes no notice of targets.

    >>> layers({"name": "lora"}, ["query", "key"]), layers({"name": "bitfit"}, "query-value")
    ('query, key', 'none')
    """
    kind = method if isinstance(method, Method) else METHODS.get(method["name"])
    if kind is not None and not kind.on_layers:  # METHODS lacks PEFT's, which all go on layers
        return NO_LAYERS
    return targets if isinstance(targets, str) else ", ".join(targets)


def layers_in_words(targets: str) -> str:
    """Return layers as a label has them: of many, how many, and six digits of their sha256.

    Args:
        targets: as :func:`layers` names them.

    >>> layers_in_words("query, key"), layers_in_words("a, b, c, d")
    ('query, key', '4 layers (68424a)')
    """
    names = targets.split(", ")
    if len(names) <= _MOST_NAMED:
        return targets
    return f"{len(names)} layers ({hashlib.sha256(targets.encode()).hexdigest()[:6]})"


def usual_settings(method: Method | Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a method comes with: its defaults; none of PEFT's methods, and of no required setting.

    >>> usual_settings({"name": "vera", "rank": 8})["d_initial"]
    0.1
    """
    kind = method if isinstance(method, Method) else METHODS.get(method["name"])
    fields = dataclasses.fields(kind) if kind is not None else ()
    return {each.name: each.default for each in fields if each.default is not dataclasses.MISSING}


def tell_apart(settings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the settings in which some candidates differ; None is as good as lacking.

    >>> tell_apart([{"rank": 8, "alpha": 8}, {"rank": 8, "alpha": 16, "seed": 1}])
    ['alpha', 'seed']
    """
    every = list(settings)
    names = dict.fromkeys(name for each in every for name in each)
    return [name for name in names if any(each.get(name) != every[0].get(name) for each in every)]


def rank_of(method: Method | Mapping[str, Any]) -> int | None:
    """Return a method's rank, None where it has none, or ranks by layer; AdaLoRA's is the mean rank it ends with.

    >>> rank_of({"name": "peft:adalora", "init_r": 12, "target_r": 4}), rank_of({"name": "full"})
    (4, None)
    """
    settings = _settings(method)
    name = str(settings["name"])
    rank = settings.get(rank_setting(name.removeprefix("peft:")) if name.startswith("peft:") else "rank")
    return None if rank is None or isinstance(rank, Mapping) else int(rank)


def _settings(method: Method | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": method.name, **method.settings()} if isinstance(method, Method) else method


def _spelled(method: Method | Mapping[str, Any]) -> str:
    settings = _settings(method)
    name = str(settings["name"])
    kind = name.removeprefix("peft:")
    if name == "lora" and settings.get("trains") == "B":
        return "LoRA-FA"
    return _OURS.get(name, name) if kind == name else _PEFTS.get(kind, kind.upper())


def _origin(method: Method | Mapping[str, Any]) -> str:
    return " (PEFT)" if str(_settings(method)["name"]).startswith("peft:") else ""
