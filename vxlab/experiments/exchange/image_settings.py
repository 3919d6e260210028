"""How an exported model of images is to be given them: the image processor, and at which resolution it was trained."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from vxlab.adapters.placement import bare
from vxlab.errors import VxlabError
from vxlab.experiments.exchange.source import Source
from vxlab.experiments.models import prepare_images


def served_processor(source: Source) -> Any:
    """Return the base's image processor, set to the resolution that the run was trained at.

    Raises:
        VxlabError: the base is not known, or brings none that makes squares.
    """
    if not source.base:
        raise VxlabError(
            "the model does not say where it comes from, so its image processor is not known; name it with base=..."
        )
    return prepare_images(source.base, _resolution(source)).processor


def image_side(source: Source) -> int:
    """Return the pixels of a side of the images that an exported model reads.

    Raises:
        VxlabError: as :func:`served_processor`.
    """
    return prepare_images(source.base, _resolution(source)).side


def must_interpolate(source: Source) -> bool:
    """Say whether a model's forward pass is to be asked to fit its table of positions to the images' resolution.

    :func:`vxlab.load_model` has it do so by itself; other programs say ``interpolate_pos_encoding=True``.
    """
    model: Any = bare(source.model)
    takes = any("interpolate_pos_encoding" in signature(each.forward).parameters for each in model.modules())
    return takes and set(_own_size(model)) != {image_side(source)}


def random_images(model: Any) -> Tensor:
    """Return two images of noise (2, channels, height, width) of a model's own size, the same every time."""
    channels = getattr(_vision(model), "num_channels", 3)
    return torch.randn((2, channels, *_own_size(model)), generator=torch.Generator().manual_seed(0))


def _vision(model: Any) -> Any:
    return getattr(model.config, "vision_config", model.config)


def _own_size(model: Any) -> tuple[int, int]:
    """Return the height and width that a model's config names; ConvNeXt, which reads any, mostly names 224."""
    own = getattr(_vision(model), "image_size", None) or 224
    return (own[0], own[1]) if isinstance(own, Sequence) else (own, own)


def _resolution(source: Source) -> int | None:
    return source.record.spec.get("resolution") if source.record else None
