"""Adapters in training loops that are not vxlab's: transformers' own Trainer, and accelerate's."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback

from vxlab.adapters import load_adapter, save_adapter
from vxlab.adapters.placement import attachment_of
from vxlab.adapters.saving import RESUME_FILE, SETTINGS_FILE, give_checkpoints_back, save_for_resuming, take_checkpoints
from vxlab.errors import VxlabError


class AdapterCallback(TrainerCallback):  # type: ignore[misc]
    """Let transformers' Trainer keep checkpoints of the adapter alone, which resume, and which load_adapter reads.

    For ``Trainer(model, ..., callbacks=[vxlab.AdapterCallback()])`` with a model that a method is attached to. Each
    checkpoint, and what ``trainer.save_model()`` writes, holds what :func:`vxlab.save_adapter` writes and a
    ``model.safetensors`` of the same trained tensors, from which Trainer resumes and which ``from_pretrained`` refuses.
    ``resume_from_checkpoint``, ``load_best_model_at_end`` and ``save_total_limit`` work as ever.

    Without it, Trainer's checkpoints of a transformers model with adapted layers are the same. It adds models that are
    not transformers' own, methods that adapt no layer (``Head``, ``BitFit``), and the checks of
    :func:`vxlab.load_adapter` on resuming: another base or other settings are refused.

    Raises:
        VxlabError: the Trainer's model has no method attached, or one that acts between steps (AdaLoRA), which only
            vxlab's own runs do.
    """

    def on_init_end(self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **kwargs: Any) -> None:
        if model is not None:
            _prepare(model)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        _prepare(model)  # with model_init, it is another model than at first
        checkpoint = _checkpoint(args, state)
        if (checkpoint / SETTINGS_FILE).exists():
            load_adapter(model, checkpoint)  # what Trainer has loaded, and the checks that it does not do

    def on_save(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        checkpoint = _checkpoint(args, state)
        if state.is_world_process_zero and checkpoint.is_dir() and not hasattr(model, "save_pretrained"):
            (checkpoint / RESUME_FILE).unlink(missing_ok=True)  # all of a model that is not transformers'
            save_for_resuming(model, checkpoint)


def save_adapters_only(accelerator: Any) -> None:
    """Let ``accelerator.save_state`` and ``load_state`` keep the adapter alone of every model that has one.

    The first such model's adapter is in the folder itself, for :func:`vxlab.load_adapter`; those of others are in
    ``adapter_1``, ``adapter_2``, ... in it. Models without an adapter are saved as ever.

    ``accelerator.prepare`` wraps a model's forward pass in its mixed precision. For outputs that a reloaded model gives
    too, take ``accelerator.unwrap_model(model, keep_fp32_wrapper=False)``.

    Args:
        accelerator: accelerate's ``Accelerator``, in one process or several (DDP).

    Raises:
        VxlabError: it shards models (FSDP, DeepSpeed, Megatron), whose checkpoints are their own.
    """
    kind = str(getattr(accelerator.distributed_type, "value", accelerator.distributed_type))
    if any(word in kind for word in ("FSDP", "DEEPSPEED", "MEGATRON")):
        raise VxlabError(
            f"accelerate's {kind} writes models itself; gather the model, and call vxlab.save_adapter on it"
        )

    def save(models: Sequence[nn.Module], weights: list[Any], folder: str) -> None:
        for place, inside, place_name in list(_adapted(accelerator, models))[::-1]:
            if accelerator.is_main_process:
                save_adapter(inside, Path(folder) / place_name)
            del weights[place]

    def load(models: list[nn.Module], folder: str) -> None:
        for place, inside, place_name in list(_adapted(accelerator, models))[::-1]:
            load_adapter(inside, Path(folder) / place_name)
            del models[place]

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def _adapted(accelerator: Any, models: Sequence[nn.Module]) -> Iterator[tuple[int, nn.Module, str]]:
    """Yield each model with an adapter: its place among all, itself without wrappers, its folder in a checkpoint."""
    number = 0
    for place, model in enumerate(models):
        inside = accelerator.unwrap_model(model, keep_torch_compile=False)
        if hasattr(inside, "vxlab_attachment"):
            yield place, inside, f"adapter_{number}" if number else ""
            number += 1


def _prepare(model: nn.Module) -> None:
    """Make a model write and read what trains alone, also where no layer is adapted."""
    method = attachment_of(model).method
    if method.schedule(model) is not None:
        raise VxlabError(f"{method} acts between steps, which Trainer does not know of; train it by vxlab.run")
    give_checkpoints_back(model)
    take_checkpoints(model)


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
