"""What the peft library writes of a method on a model, and takes back: its config and its tensors by their names."""

import dataclasses
import enum
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters.peft.settings import ADAPTER, config_class, free_settings, settled_fields
from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.words import first_line, list_in_words

_BOOKKEEPING = frozenset(
    (
        *("auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "peft_version"),
        *("peft_type", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
        *("modules_to_save", "fan_in_fan_out", "feedforward_modules", "runtime_config", "total_step"),
    )
)
"""Fields of a config that say nothing beside its folder's layers, or nothing of the method."""
_ONLY_STARTS = frozenset(
    (
        *("init_lora_weights", "loftq_config", "eva_config", "corda_config", "lora_ga_config"),
        *("megatron_config", "megatron_core", "qalora_group_size"),
    )
)
"""Fields that decided how LoRA's training began, or mean something with others alone; MiSS has forms of it there."""


class _AsPeftModel(nn.Module):
    """A tuner under the names that it has in a PeftModel, which the functions that read and write states expect."""

    def __init__(self, model: nn.Module, **instead: Any) -> None:
        super().__init__()
        tuner: Any = model.__dict__["vxlab_peft"][0]
        self.base_model = tuner
        self.peft_config = {ADAPTER: dataclasses.replace(tuner.peft_config[ADAPTER], **instead)}


def config_settings(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return what ``PEFT`` takes for a config: the method's name and its settings, those as peft has them left out.

    Raises:
        VxlabError: this peft does not know the method or a field that says something, or a field says what is no
            setting here.
    """
    name = str(config["peft_type"]).lower()
    if name == "lora" and config.get("use_dora"):
        name = "dora"
    kind = _known_class(name, config)
    defaults = {field.name: _default(field) for field in dataclasses.fields(kind)}
    settled = settled_fields(name)
    said = {
        field: value
        for field, value in config.items()
        if field not in _BOOKKEEPING
        and (value != defaults[field] if field in defaults else value not in (None, False, [], {}))
        and settled.get(field) != value
    }
    free = free_settings(name)
    unknown = sorted(field for field in said if field not in (*free, *_ONLY_STARTS))
    if unknown:
        raise VxlabError(
            f"the config of {name!r} says {', '.join(f'{field}={quote(said[field])}' for field in unknown[:3])}, which "
            f"{_told_by(config)} and cannot be had here; load it with the peft library itself"
        )
    return name, {field: value for field, value in said.items() if field in free and field not in _ONLY_STARTS}


def load_state(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give the tensors of a method of peft's the values that its file has, by the names there; none of the base's own.

    Raises:
        VxlabError: a tensor is missing, surplus or of another shape, or one here with another. Some may then hold the
            new values.
    """
    from peft import set_peft_model_state_dict

    biases = {"bias": "none"} if hasattr(model.__dict__["vxlab_peft"][0].peft_config[ADAPTER], "bias") else {}
    holder = _AsPeftModel(model, **biases)
    before = _tensors(holder)
    shapes = {name: tuple(each.shape) for name, each in before.items()}
    found = {_as_saved(name, shapes): tuple(each.shape) for name, each in tensors.items()}
    if found != shapes:
        wrong = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
        told = [f"{name} is {found.get(name, 'missing')}, not {shapes.get(name, 'known')}" for name in wrong[:3]]
        raise VxlabError(f"the tensors do not fit this {type(model).__name__}: {list_in_words(told)}")
    try:
        result: Any = set_peft_model_state_dict(holder, dict(tensors), adapter_name=ADAPTER)
    except Exception as error:  # whatever peft raises
        raise VxlabError(f"peft cannot load the tensors: {first_line(error)}") from error
    if result.unexpected_keys:
        raise VxlabError(f"peft has no place for {list_in_words(result.unexpected_keys[:3])}")
    after = _tensors(holder)
    for name, tensor in tensors.items():
        held = after[_as_saved(name, shapes)]
        if not torch.equal(held.cpu(), tensor.to(held.dtype).cpu()):  # Lily shares by how its targets are written
            raise VxlabError(
                f"peft holds {name} in one with another layer's here, and the file has two values for them"
            )


def state_to_save(model: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what peft would save of the method on a model: its config as plain JSON values, and its tensors."""
    holder = _AsPeftModel(model)
    tensors = _tensors(holder)
    fields = {name: _plain(value) for name, value in holder.peft_config[ADAPTER].to_dict().items()}
    return fields, {name: tensor.detach() for name, tensor in tensors.items()}


def _tensors(holder: _AsPeftModel) -> dict[str, Tensor]:
    from peft import get_peft_model_state_dict

    # A state that is given is not searched for shards of ZeRO's, which peft takes a bias on B for.
    found: dict[str, Tensor] = get_peft_model_state_dict(
        holder, state_dict=holder.state_dict(), adapter_name=ADAPTER, save_embedding_layers=False
    )
    return found


def _known_class(name: str, config: Mapping[str, Any]) -> Any:
    try:
        return config_class(name)
    except VxlabError as error:
        raise VxlabError(f"peft_type {config['peft_type']!r}, which {_told_by(config)}: {error}") from error


def _told_by(config: Mapping[str, Any]) -> str:
    wrote = config.get("peft_version")
    return f"peft {wrote or 'of an unknown version'} wrote (here is {_here()})"


def _here() -> str:
    try:
        return version("peft")
    except PackageNotFoundError:
        return "none"


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else _plain(field.default_factory())


def _as_saved(name: str, known: Mapping[str, Any]) -> str:
    """Return a name as this peft writes it; earlier ones had ``.weight`` after DoRA's magnitudes."""
    shorter = name.removesuffix(".weight")
    return shorter if name not in known and shorter in known else name


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value
