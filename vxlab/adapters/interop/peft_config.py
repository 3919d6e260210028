"""The fields of an adapter's config of the peft library that decide numbers: of their right kinds, or refused."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vxlab.adapters.interop.peft_files import CONFIG_FILE
from vxlab.checks import quote
from vxlab.errors import VxlabError

_ELSEWHERE = frozenset(
    (
        *("auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "peft_version"),
        *("megatron_config", "megatron_core", "runtime_config", "qalora_group_size"),
        *("loftq_config", "eva_config", "corda_config", "lora_ga_config"),
    )
)
"""Fields of LoRA's config that say nothing of what it computes, alone: how training began is in init_lora_weights."""


def check_config(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return a config, if every field known here is what it should be.

    Raises:
        VxlabError: a field is of another kind or out of range; or it is LoRA with something that is not known here, or
            that computes more than a matrix does.
    """
    path = folder / CONFIG_FILE
    ours = config["peft_type"] in ("LORA", "VERA")
    for field, (is_right, wanted) in (_PLACES | _NUMBERS if ours else _PLACES).items():
        if field in config and not is_right(config[field]):
            raise VxlabError(f"{path} is damaged: {field}={quote(config[field])} is not {wanted}")
    if lacking := [name for name in ("r", "target_modules") if ours and config.get(name) is None]:
        raise VxlabError(f"{path} lacks {' and '.join(lacking)}; get the whole file")
    if ours:
        _refuse_unknown(path, config)
    return config


def _refuse_unknown(path: Path, config: Mapping[str, Any]) -> None:
    said = {name: value for name, value in config.items() if value not in (None, False, [], {}, "")}
    unknown = sorted(said.keys() - _PLACES.keys() - _NUMBERS.keys() - _ELSEWHERE)
    if unknown:
        raise VxlabError(
            f"{path} says {', '.join(f'{name}={quote(said[name])}' for name in unknown[:3])}, by which peft "
            f"{config.get('peft_version', 'of an unknown version')} computes something that {config['peft_type']} here "
            "does not; load it with the peft library itself"
        )


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)


def _is_names_or_text(value: object) -> bool:
    return value is None or (isinstance(value, str) and value != "") or _is_names(value)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_dropout(value: object) -> bool:
    return _is_number(value) and 0 <= value < 1  # type: ignore[operator]


def _is_blocks(value: object) -> bool:
    return value is None or type(value) is int or (isinstance(value, list) and all(type(each) is int for each in value))


def _is_mapping_of(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or (isinstance(value, dict) and all(map(kind, value.values())))


def _is_flag(value: object) -> bool:
    return value is None or isinstance(value, bool)


_Fields = dict[str, tuple[Callable[[object], bool], str]]

_PLACES: _Fields = {
    "peft_type": (lambda value: str(value).isupper(), "a method's name in capitals"),
    "target_modules": (_is_names_or_text, "a list of names or a regular expression"),
    "exclude_modules": (_is_names_or_text, "a list of names or a regular expression"),
    "modules_to_save": (lambda value: value is None or _is_names(value), "a list of names"),
    "layers_to_transform": (_is_blocks, "a list of blocks' numbers"),
    "layers_pattern": (_is_names_or_text, "a name or a list of names"),
    "bias": (lambda value: value in ("none", "all") or str(value).endswith("_only"), "none, all or …_only"),
    "base_model_name_or_path": (lambda value: value is None or isinstance(value, str), "a name or a folder"),
}
"""What a field of any method's config must be, and that in words."""
_NUMBERS: _Fields = {
    "r": (_is_count, "a whole number of 1 or more"),
    "rank_pattern": (_is_mapping_of(_is_count), "a mapping of names to ranks"),
    "alpha_pattern": (_is_mapping_of(_is_number), "a mapping of names to numbers"),
    "lora_alpha": (_is_number, "a finite number"),
    "lora_dropout": (_is_dropout, "a probability below 1"),
    "vera_dropout": (_is_dropout, "a probability below 1"),
    "projection_prng_key": (lambda value: type(value) is int and value >= 0, "a whole number"),
    "d_initial": (_is_number, "a finite number"),
    "init_lora_weights": (lambda value: isinstance(value, bool | str), "True, False or a name"),
    **dict.fromkeys(
        ("use_rslora", "use_dora", "lora_bias", "fan_in_fan_out", "save_projection", "init_weights"),
        (_is_flag, "true or false"),
    ),
}
"""The same of LoRA's and VeRA's own."""
