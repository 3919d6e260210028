"""A model as its config describes it, before its weights are loaded, or even there."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments.assets import fetch, list_assets
from vxlab.experiments.models.files import (
    ModelPlace,
    config_reads_images,
    explain_load_error,
    quiet_transformers,
    read_config,
    refuse_own_code,
)
from vxlab.experiments.models.images import read_at_any_size, side_without_weights
from vxlab.experiments.models.load import ask_for_labels, kind_of_model


def model_from_config(name: str, num_labels: int) -> nn.Module:
    """Build the model that :func:`vxlab.load_model` would load, in float32 and training mode, of its config alone.

    Its values are whatever memory holds, and mean nothing: build it where tensors are shapes alone. Of a folder and of
    the hub only config.json is read; a packaged model is fetched whole. A pooler that the weights lack, which would
    count as part of the head, is taken for the backbone's.

    Args:
        name, num_labels: as :func:`vxlab.load_model` takes them; a folder needs config.json alone.

    Raises:
        VxlabError: there is no such config, transformers has no such model for this kind of task, it brings code of its
            own, or is quantised.
    """
    name, num_labels = settle("model", name, str), settle("num_labels", num_labels, int)
    if num_labels < 0:
        raise VxlabError(f"num_labels={num_labels} is not a number of classes; choose 1 or more, or 0 to write")
    config, _ = _config(name)
    if getattr(config, "quantization_config", None) is not None:
        raise VxlabError(f"model={name!r} is quantised, and its config tells no tensor's size; name its float32 base")
    return _build(name, config, num_labels)


def unloaded_side(name: str, resolution: int | None = None) -> int | None:
    """Return the pixels of a side that a run's images have for a model, None of a model of texts; no weights are read.

    Args:
        name: as :func:`model_from_config` takes it.
        resolution: of the run; None takes what the model's image processor makes, whose file must be there.

    Raises:
        VxlabError: there is no such config, or it reads texts and a resolution is given; the image processor is
            lacking, or the resolution is no multiple of the model's patches.
    """
    config, place = _config(name)
    if config_reads_images(config):
        return side_without_weights(name, place, config, resolution)
    if resolution is not None:
        raise VxlabError(f"resolution={resolution}: model={name!r} reads no images; leave it out")
    return None


def label_weights(name: str) -> list[str]:
    """Return which of a classifier's weights have a row for each label, by dotted name; none where there is none.

    Args:
        name: of a model, as :func:`model_from_config` takes it; it may be quantised.

    Raises:
        VxlabError: there is no such config, or the model brings code of its own.
    """
    config, _ = _config(name)
    try:
        with torch.device("meta"):
            two, three = (dict(_build(name, config, labels).named_parameters()) for labels in (2, 3))
    except VxlabError:  # transformers has no classifier of this kind
        return []
    return [key for key, parameter in two.items() if parameter.shape != three[key].shape and parameter.dim() == 2]


def _build(name: str, config: Any, num_labels: int) -> nn.Module:
    import transformers
    from transformers.initialization import no_init_weights

    kind = kind_of_model(config, num_labels)
    if kind.trains_head:
        ask_for_labels(config, num_labels)
    with quiet_transformers(), explain_load_error(name):
        auto: Any = getattr(transformers, kind.auto_class)
        with no_init_weights():  # some draw again what is out of bounds, which shapes do not tell
            model: Any = auto.from_config(config, dtype=torch.float32, trust_remote_code=False)
        model.tie_weights()
    if kind.reads == "images":
        read_at_any_size(model)
    built: nn.Module = model.train()
    return built


def _config(name: str) -> tuple[Any, ModelPlace]:
    """Return a model's config, and where it is."""
    packaged = {key for key, asset in list_assets().items() if asset.kind == "model"}
    folder = Path(name).expanduser()
    if name in packaged:
        place = ModelPlace(str(fetch(name)))
    elif folder.is_dir():
        if not (folder / "config.json").is_file():
            raise VxlabError(f"model={name!r} is a folder without config.json; name one written by save_pretrained")
        place = ModelPlace(str(folder))
    else:
        place = ModelPlace(name)
    config = read_config(name, place, packaged)
    refuse_own_code(name, config)
    return config, place
