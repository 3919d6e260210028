"""What ``save_pretrained`` writes, and what a state dict may lack, while an adapter is on a model."""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vxlab.adapters.placement import adapted_layers
from vxlab.adapters.saving.save import save_adapter, trained_state
from vxlab.errors import VxlabError
from vxlab.files import write_whole

RESUME_FILE = "model.safetensors"
"""By this name transformers' Trainer looks for what it loads when it resumes, or loads the best checkpoint."""
_MARK = {"format": "pt", "holds": "what a vxlab adapter trains"}


def take_checkpoints(model: nn.Module) -> None:
    """Let a model write its adapter alone where ``save_pretrained`` would write all of it, and read that back.

    The whole state dict has the base under the base's own names, and the adapter under others, which
    ``from_pretrained`` would leave out with a remark: the base would come back, as if it had been trained.
    """
    if hasattr(model, "save_pretrained"):
        model.save_pretrained = AdapterAlone(model)  # type: ignore[assignment]
    model.vxlab_completes = model.register_load_state_dict_pre_hook(complete)  # type: ignore[no-untyped-call]


def give_checkpoints_back(model: nn.Module) -> None:
    """Undo :func:`take_checkpoints`."""
    if isinstance(model.__dict__.get("save_pretrained"), AdapterAlone):
        del model.save_pretrained
    if handle := model.__dict__.pop("vxlab_completes", None):
        handle.remove()


class AdapterAlone:
    """A model's ``save_pretrained``: what :func:`vxlab.save_adapter` writes, and the file that Trainer resumes from.

    ``from_pretrained`` refuses both: there is no ``config.json``, and one of the base's tensors is empty.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(
        self, save_directory: str | os.PathLike[str], is_main_process: bool = True, *more: Any, **others: Any
    ) -> None:
        """Write the adapter into a folder, where this process is the one that writes; ``others`` are of models."""
        if others.get("push_to_hub"):
            raise VxlabError("push_to_hub=True writes a whole model; save the adapter, and push its folder")
        if is_main_process:
            save_for_resuming(self.model, save_directory)


def save_for_resuming(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Save an adapter with the file that Trainer resumes from.

    Raises:
        VxlabError: as :func:`vxlab.save_adapter`; or the folder holds the weights of a model.
    """
    if any(layer.merged for layer in adapted_layers(model).values()):
        raise VxlabError("the model is merged, with its adapter still on it; call vxlab.detach(model) to save it plain")
    path = Path(folder) / RESUME_FILE
    if path.exists() and not _is_ours(path):
        raise VxlabError(
            f"{folder} holds a model, and this one has an adapter on it; give another folder, or, to save a plain "
            "model, call vxlab.merge and vxlab.detach first"
        )
    save_adapter(model, folder)
    with write_whole(path) as new:
        save_file(trained_state(model) | _nothing_of_the_base(model), new, metadata=_MARK)


def complete(model: nn.Module, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
    """Add to the state of an adapter alone what is frozen, as the model has it; leave any other state as it is.

    Raises:
        VxlabError: it is of another adapter.
    """
    own = model.state_dict(prefix=prefix)
    empty = [name for name, tensor in state.items() if not tensor.numel() and name in own and own[name].numel()]
    if not empty:
        return
    for name in empty:
        del state[name]
    differing = {f"{prefix}{name}" for name in trained_state(model)} ^ state.keys()
    if differing:
        told = ", ".join(sorted(differing)[:3])
        raise VxlabError(
            f"the checkpoint is of another adapter than this {type(model).__name__} has: {told} missing or unexpected; "
            "attach the method and targets that it was saved with"
        )
    state.update({name: tensor for name, tensor in own.items() if name not in state})


def _nothing_of_the_base(model: nn.Module) -> dict[str, Tensor]:
    """Return an empty tensor under the name of one that is frozen, which makes the base's own loading fail."""
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    return {name: torch.empty(0) for name in frozen[:1]}


def _is_ours(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return bool(file.metadata() == _MARK)
    except (OSError, SafetensorError):
        return False
