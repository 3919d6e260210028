"""Methods of the peft library, to hold ours against: put on by their name there and its settings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters.core import Method, Schedule, exchange_hooks, replace_layer, values_probe
from vxlab.adapters.peft import adalora
from vxlab.adapters.peft.on_quantised import check_on_quantised
from vxlab.adapters.peft.settings import ADAPTER, checked_settings, inject, peft_config, rank_setting
from vxlab.errors import VxlabError
from vxlab.words import first_line


@dataclass(frozen=True, init=False, repr=False)
class PEFT(Method):
    """Adapt the target layers by a method of the peft library, for comparison; vxlab trains and saves it as its own.

    What changes the input, or other layers than linear ones (prompt and prefix tuning, …), is refused, and so is
    LoRA's start from the base's own weights (PiSSA, OLoRA). Merging is peft's affair.

    Args:
        config: peft's name for the method in lower case (``lora``, ``adalora``, ``vera``, ``fourierft``, ``randlora``,
            ``tinylora``, ``boft``, ``vblora``, ``ia3``, ``oft``, ``loha``, ``lokr``, …), or ``dora``.
        settings: fields of peft's config for it, as plain JSON values; the others are as peft has them. Targets, the
            head and AdaLoRA's number of steps are no settings: the run has them.
        fields: the same by keyword, in place of ``settings``.

    Raises:
        VxlabError: peft is not installed, the method or a setting is unknown (the nearest is named) or cannot be
            used here, peft refuses a value, or settings come both ways.

    >>> PEFT("dora", lora_alpha=16).settings()
    {'lora_alpha': 16, 'r': 8}
    >>> PEFT("dora", {"lora_alpha": 16}) == PEFT("dora", lora_alpha=16)
    True
    """

    config: str
    canonical: str
    """the settings as sorted JSON, so that equal ones compare and hash alike"""

    def __init__(self, config: str, settings: Mapping[str, object] | None = None, **fields: object) -> None:
        if settings is not None and fields:
            raise VxlabError(
                f"PEFT({config!r}) has settings={settings!r} and {', '.join(fields)} by keyword; give all one way"
            )
        checked = checked_settings(config, fields if settings is None else settings)
        object.__setattr__(self, "config", config)
        object.__setattr__(self, "canonical", json.dumps(checked, sort_keys=True))

    def __repr__(self) -> str:
        return f"PEFT({self.config!r}, {self.settings()})"

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name on the command line and in saved files: ``peft:dora``."""
        return f"peft:{self.config}"

    @property
    def rank(self) -> int | None:
        """The adapter's rank; None where the method has none."""
        rank: int | None = self.settings().get(rank_setting(self.config))
        return rank

    def settings(self) -> dict[str, Any]:
        """Return the given settings and the rank."""
        settings: dict[str, Any] = json.loads(self.canonical)
        return settings

    def versions(self) -> dict[str, str]:
        return {"peft": version("peft")}  # settings that are not given follow its defaults

    def put_on(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> set[str]:
        check_on_quantised(self, self._inject, model, layers)
        trains = {parameter: parameter.requires_grad for parameter in model.parameters()}
        try:
            tuner = self._inject(model, layers)
            trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        except Exception as error:  # whatever it was, the model has to be as before
            _hooks_outwards(model, layers)
            self.take_off(model, list(layers))
            raise VxlabError(f"peft cannot put {self} on these layers: {first_line(error)}") from error
        finally:
            for parameter, before in trains.items():
                parameter.requires_grad_(before)
        _hooks_outwards(model, layers)
        hooks = [adalora.regularise(model)] if self.config == "adalora" else []
        # In a tuple, so that the tuner, which holds the model, is not registered as a part of it.
        model.vxlab_peft = (tuner, hooks)  # type: ignore[assignment]
        return trained

    def _inject(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> Any:
        return inject(peft_config(self.config, self.settings(), layers), model, layers)

    def take_off(self, model: nn.Module, layers: Sequence[str]) -> None:
        for name in layers:
            layer: Any = model.get_submodule(name)
            replace_layer(model, name, getattr(layer, "base_layer", layer))
        _, hooks = model.__dict__.pop("vxlab_peft", (None, []))
        for hook in hooks:
            hook.remove()
        model.__dict__.pop("peft_config", None)

    def count(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> int:
        with torch.random.fork_rng(devices=[]):  # no formula holds for all of them: put on, count, take off
            trained = self.put_on(model, layers)
        number = sum(parameter.numel() for name, parameter in model.named_parameters() if name in trained)
        self.take_off(model, list(layers))
        return number

    def fingerprints(self, layers: Mapping[str, nn.Module]) -> dict[str, Any]:
        probes = [values_probe(_frozen_tensors(layer)) for layer in layers.values()]
        return {"basis_probes": probes} if any(probes) else {}

    def schedule(self, model: nn.Module) -> Schedule | None:
        tuner, _ = model.__dict__["vxlab_peft"]
        return adalora.RankSchedule(tuner) if self.config == "adalora" else None


def _hooks_outwards(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Move the hooks of layers that peft has wrapped to what wraps them: they are for the adapted layer's output."""
    for name, base in layers.items():
        if (wrapper := model.get_submodule(name)) is not base:
            exchange_hooks(wrapper, base)


def _frozen_tensors(layer: nn.Module) -> list[Tensor]:
    """Return what peft drew or decomposed for a layer: buffers, and tensors in plain attributes, by adapter."""
    buffers = {name: tensor for name, tensor in layer.named_buffers() if not name.startswith("base_layer.")}
    attributes = {name: value.get(ADAPTER) for name, value in vars(layer).items() if isinstance(value, dict)}
    named = {**buffers, **{name: value for name, value in attributes.items() if isinstance(value, Tensor)}}
    return [named[name].detach().cpu() for name in sorted(named)]
