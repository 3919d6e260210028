"""What is taken of the peft library: its methods by name, their settings, and putting one on a model's layers."""

import dataclasses
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from vxlab.adapters.core import role_of
from vxlab.checks import annotations, quote, require_known, settle
from vxlab.errors import VxlabError
from vxlab.words import first_line, nearest

ADAPTER = "default"
"""peft's name for the one adapter on the model."""

_RANK_SETTING = {"adalora": "target_r", "oft": ""}
"""Where a kind's rank is not its setting ``r``: AdaLoRA ends with target_r on average, OFT's r counts blocks."""
_PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "dora": ("lora", {"use_dora": True}),
    "frod": ("frod", {"progressbar": False}),
}
"""Kinds of which something is settled: DoRA is a setting of peft's LoRA."""
_NOT_ON_LINEAR_LAYERS = {
    "adaption_prompt": "changes the prompts of attention",
    "ln_tuning": "trains layer norms",
    "poly": "needs the number of a task with every text",
    "shadow": "runs a second model beside this one",
    "trainable_tokens": "trains the embeddings of tokens",
    "xlora": "mixes adapters that are trained already",
}
_SET_HERE = {
    **dict.fromkeys(
        ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "target_parameters"),
        "the run's targets decide the layers",
    ),
    **dict.fromkeys(("modules_to_save", "trainable_token_indices"), "the task head trains with every method"),
    **dict.fromkeys(("fan_in_fan_out", "feedforward_modules"), "it follows from the layers"),
    "total_step": "it is the run's number of steps",
    "use_qalora": "only peft's GPTQ layers heed it, and others would train plain LoRA under its name",
    "use_asa": "a run makes no calls to its schedule",
}
_INITIAL_WEIGHTS = (True, False, "gaussian", "orthogonal")
"""Of LoRA in peft: the others (pissa, olora, …) rewrite the base's own weights, or need data first."""
_HARMLESS = (
    "Failed to load the CUDA extension",  # BOFT's, which then computes the same in torch
    "Setting boft_n_butterfly_factor to 1",
)


def rank_setting(config: str) -> str:
    """Return the name of the setting that is a kind's rank; ``""`` where none is.

    >>> rank_setting("dora"), rank_setting("adalora")
    ('r', 'target_r')
    """
    return _RANK_SETTING.get(config, "r")


def checked_settings(config: str, settings: Mapping[str, object]) -> dict[str, Any]:
    """Return a kind's settings as plain JSON values, with its rank written out where peft has a default for it.

    Raises:
        VxlabError: peft is not installed, the kind or a setting is unknown or cannot be used here, or a value is one
            that peft refuses.
    """
    kind = config_class(config)
    if not isinstance(settings, Mapping):
        raise VxlabError(f"PEFT({config!r}) settings={quote(settings)} is not a mapping; write {{'r': 8}}")
    _check_names(config, kind, settings)
    given = _plain(config, kind, settings)
    _check_values(config, kind, given)
    rank = rank_setting(config)
    default = {field.name: field.default for field in dataclasses.fields(kind)}.get(rank)
    whole = {rank: default, **given} if isinstance(default, int) else given
    if isinstance(default, int) and whole[rank] < min(default, 1):
        raise VxlabError(f"PEFT({config!r}) {rank}={whole[rank]} is not a positive whole number; choose 1 or more")
    peft_config(config, whole, {})
    return whole


def peft_config(config: str, settings: Mapping[str, Any], layers: Mapping[str, nn.Module]) -> Any:
    """Return peft's config for exactly these layers, with what follows from them."""
    kind = config_class(config)
    derived = {**_PRESETS.get(config, ("", {}))[1], "target_modules": _exactly(layers)}
    if _has(kind, "fan_in_fan_out"):
        derived["fan_in_fan_out"] = any(not isinstance(layer, nn.Linear) for layer in layers.values())
    if _has(kind, "feedforward_modules"):  # (IA)³ scales the input of these, and the output of the others
        derived["feedforward_modules"] = _exactly(name for name in layers if role_of(name) == "down")
    if config == "adalora":  # until the first step says how many there are
        derived["total_step"] = settings.get("tinit", 0) + settings.get("tfinal", 0) + 1
    try:
        with _quiet():
            return kind(**settings, **derived)
    except Exception as error:
        raise VxlabError(f"peft refuses {config!r} with {dict(settings)}: {first_line(error)}") from error


def inject(config: Any, model: nn.Module, layers: Iterable[str]) -> Any:
    """Put peft's layers in the place of these, which its config names; return its tuner, which holds the model.

    Adapters of a model in half precision are float32, as peft's own models have them. The model may be left half
    changed by an error, which is any that peft raises.
    """
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.tuners.tuners_utils import cast_adapter_dtype

    with _quiet():
        tuner = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](model, config, ADAPTER)
        cast_adapter_dtype(model, adapter_name=ADAPTER, autocast_adapter_dtype=True)
    left = [name for name in layers if name not in tuner.targeted_module_names]
    if left or not any(parameter.requires_grad for parameter in model.parameters()):
        raise VxlabError(f"it leaves `{left[0]}` as it is" if left else "nothing would train")
    return tuner


def config_class(config: str) -> Any:
    """Return peft's class of configs for a kind.

    Raises:
        VxlabError: peft is not installed, or the kind is unknown or goes on no linear layers.
    """
    try:
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    except ImportError as error:
        raise VxlabError(f"method 'peft:{config}' needs the peft library; pip install 'vxlab[peft]'") from error
    classes = {kind.value.lower(): cls for kind, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    on_layers = {name for name, cls in classes.items() if _has(cls, "target_modules")}
    usable = sorted((on_layers | _PRESETS.keys()) - _NOT_ON_LINEAR_LAYERS.keys())
    if config in usable:
        return classes[_PRESETS[config][0] if config in _PRESETS else config]
    if config in classes:
        why = _NOT_ON_LINEAR_LAYERS.get(config, "changes the model's input")
        raise VxlabError(f"peft's {config!r} {why}, so no target layers carry it; choose one of {', '.join(usable)}")
    raise VxlabError(f"PEFT config={quote(config)} is unknown{nearest(str(config), usable)}")


def free_settings(config: str) -> list[str]:
    """Return the names of a kind's settings: what its config has beside every config, and neither runs nor layers say.

    >>> "lora_alpha" in free_settings("lora"), "target_modules" in free_settings("lora")
    (True, False)
    """
    settled = {*settled_fields(config), *(["r"] if config == "adalora" else [])}
    return [name for name in _own_fields(config_class(config)) if name not in _SET_HERE and name not in settled]


def settled_fields(config: str) -> dict[str, Any]:
    """Return what a kind's name alone says of peft's config."""
    return dict(_PRESETS.get(config, ("", {}))[1])


def _own_fields(kind: Any) -> list[str]:
    from peft import PeftConfig

    return [field.name for field in dataclasses.fields(kind) if not _has(PeftConfig, field.name)]


def _check_names(config: str, kind: Any, given: Mapping[str, object]) -> None:
    known, free = _own_fields(kind), free_settings(config)
    for setting in given:
        if setting in known and setting in _SET_HERE:
            raise VxlabError(f"PEFT({config!r}) takes no setting {setting!r}: {_SET_HERE[setting]}")
        require_known([setting], free, f"PEFT({config!r}) has no setting")


def _check_values(config: str, kind: Any, given: Mapping[str, Any]) -> None:
    if given.get("init_lora_weights", True) not in _INITIAL_WEIGHTS:
        raise VxlabError(
            f"PEFT({config!r}) init_lora_weights={given['init_lora_weights']!r} rewrites the base's weights or needs "
            f"data first; choose one of {', '.join(map(repr, _INITIAL_WEIGHTS))}"
        )
    if config == "adalora" and given.get("init_r", kind.init_r) <= given.get("target_r", kind.target_r):
        raise VxlabError(
            f"PEFT('adalora') target_r={given.get('target_r', kind.target_r)} is not below "
            f"init_r={given.get('init_r', kind.init_r)}, so no rank would be taken away; choose init_r above it"
        )


def _has(cls: Any, field: str) -> bool:
    return field in {each.name for each in dataclasses.fields(cls)}


def _plain(config: str, kind: Any, settings: Mapping[str, object]) -> dict[str, Any]:
    """Return settings as JSON would give them back, of the kinds that peft's config says, which peft does not check."""
    known, plain = annotations(kind), {}
    for name, value in settings.items():
        if name in known:  # peft calls an alpha, a λ and the like whole numbers, and takes any
            loose = known[name] is int and name != rank_setting(config)
            value = settle(f"PEFT({config!r}) {name}", value, float if loose else known[name])
        try:
            plain[name] = json.loads(json.dumps(value, default=lambda number: number.item(), allow_nan=False))
        except (TypeError, ValueError, AttributeError) as error:
            raise VxlabError(
                f"PEFT({config!r}) {name}={quote(value)} is no plain value; give a number, a string, a list or a "
                "mapping"
            ) from error
    return plain


def _exactly(names: Iterable[str]) -> str:
    """Return a regular expression for these names alone: peft takes a list's items for the ends of names too."""
    return "|".join(map(re.escape, names)) or "(?!)"


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        for message in _HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        yield
