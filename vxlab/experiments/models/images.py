"""Models that read images: which they are, what their image processor does, and at which resolutions they read."""

import inspect
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from vxlab.errors import VxlabError
from vxlab.experiments.images import Preparation
from vxlab.experiments.models.files import (
    ModelPlace,
    config_reads_images,
    explain_load_error,
    find_model,
    quiet_transformers,
    read_config,
)
from vxlab.words import first_line


def reads_images(name: str) -> bool:
    """Say whether a model reads images rather than texts, by its config.

    Args:
        name: as :func:`load_model` takes it.

    Raises:
        VxlabError: as :func:`load_model`.
    """
    return config_reads_images(read_config(name, find_model(name)))


def load_image_processor(name: str) -> Any:
    """Load a model's image processor, on Pillow: its numbers do not depend on whether torchvision is installed.

    Raises:
        VxlabError: as :func:`load_model`, or the model brings none.
    """
    return _processor_at(name, find_model(name))


def side_without_weights(name: str, place: ModelPlace, config: Any, resolution: int | None = None) -> int:
    """Return the side of the square that a model is given, as :func:`prepare_images` makes it.

    Args:
        name: of the model, for messages.
        place: where its config is, and where resolution is None its image processor.
        config: its own.
        resolution: as :func:`prepare_images` takes it.

    Raises:
        VxlabError: the image processor is lacking, or the resolution is no multiple of the model's patches.
    """
    try:
        side = _side(name, _processor_at(name, place)) if resolution is None else resolution
    except VxlabError as error:
        raise VxlabError(f"{error}; or give resolution, the pixels of a side") from error
    _require_whole_patches(name, config, side, chosen=resolution is not None)
    return side


def _processor_at(name: str, place: ModelPlace) -> Any:
    from transformers import AutoImageProcessor

    with quiet_transformers(), explain_load_error(name):
        return AutoImageProcessor.from_pretrained(
            place.path, revision=place.commit, trust_remote_code=False, backend="pil"
        )


def prepare_images(name: str, resolution: int | None = None) -> Preparation:
    """Return what brings images to a model.

    At another resolution than the model's own, an image is resized and cropped in the same proportions; ConvNeXt's
    processor crops below 384 pixels alone, and squeezes what is not square from there on.

    Args:
        name: as :func:`load_model` takes it.
        resolution: pixels of a side; None takes what the model's image processor makes.

    Raises:
        VxlabError: the processor makes no square of three channels, or does not normalise; or the resolution is no
            multiple of the model's patches.
    """
    place = find_model(name)
    processor = load_image_processor(name)
    own = _side(name, processor)
    side = resolution or own
    _require_whole_patches(name, read_config(name, place), side, chosen=resolution is not None)
    if side != own:
        _scale(processor, own, side)
        if (made := _side(name, processor)) != side:
            raise VxlabError(
                f"resolution={resolution}: the image processor of {name} makes {made} pixels of a side at that, and "
                f"{own} of itself; leave resolution out"
            )
    mean, spread = (
        tuple(map(float, np.broadcast_to(each, 3)))
        for each in (_or(processor, "image_mean", 0.0), _or(processor, "image_std", 1.0))
    )
    preparation = Preparation(processor, side, mean, spread)
    _require_same_pixels(name, preparation)
    return preparation


def read_at_any_size(model: nn.Module) -> None:
    """Have a model bring its table of positions to the size of the images that it is given, where it asks for that."""

    found: list[str] = []  # the outermost modules that take it: they hand it on
    for name, module in model.named_modules():
        asks = "interpolate_pos_encoding" in inspect.signature(module.forward).parameters
        if asks and not any(f"{name}.".startswith(f"{outer}.") or not outer for outer in found):
            module.register_forward_pre_hook(_interpolate, with_kwargs=True)
            found.append(name)


@torch.no_grad()
def check_images(name: str, model: nn.Module, preparation: Preparation) -> None:
    """Refuse a model that fails on the images that its processor makes, or classifies one otherwise among others.

    Args:
        name: of the model, for the message.
        model: in evaluation mode, on the CPU.
        preparation: the model's own.

    Raises:
        VxlabError: it is so.
    """
    generator = torch.Generator().manual_seed(0)
    images = preparation.normalise(
        torch.randint(0, 256, (2, 3, preparation.side, preparation.side), generator=generator)
    )
    try:
        alone, both = model(pixel_values=images[:1]).logits, model(pixel_values=images).logits
    except Exception as error:  # whatever it is: a run would meet it at its first batch
        raise VxlabError(
            f"model={name!r}: {type(model).__name__} fails on what its image processor makes "
            f"({type(error).__name__}: {first_line(error)}); save the processor that belongs to it"
        ) from error
    if float((alone[0] - both[0]).abs().max()) > 1e-3 * float(both.abs().max().clamp_min(1e-2)):
        raise VxlabError(f"model={name!r}: {type(model).__name__} classifies an image by those beside it; name another")


def _interpolate(model: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return args, {"interpolate_pos_encoding": True, **given}


def _side(name: str, processor: Any) -> int:
    """Return the side of the square that a processor makes of any image."""
    shapes = set()
    for size in ((301, 399), (512, 256)):
        image = np.zeros((*size, 3), dtype=np.uint8)
        shapes.add(tuple(processor(image, return_tensors="np")["pixel_values"][0].shape))
    shape = shapes.pop()
    if shapes or len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise VxlabError(
            f"model={name!r}: its image processor makes {shape} of an image, and not the same square of 3 channels of "
            "each; name a model that reads squares"
        )
    return int(shape[1])


def _require_same_pixels(name: str, preparation: Preparation) -> None:
    """Refuse a processor that does more to an image than resize, crop and normalise."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    whole = torch.from_numpy(np.asarray(preparation.processor(image, return_tensors="np")["pixel_values"]))
    parts = preparation.normalise(torch.from_numpy(preparation.pixels(image))[None])
    if not torch.allclose(whole.float(), parts, atol=1e-5):
        raise VxlabError(
            f"model={name!r}: its image processor, {type(preparation.processor).__name__}, does more to an image than "
            "to resize, crop and normalise it, which is all that is done here; name another model"
        )


def _scale(processor: Any, own: int, side: int) -> None:
    """Change the sizes that a processor resizes and crops to, in proportion."""
    for name in ("size", "crop_size"):
        if sizes := getattr(processor, name, None):
            setattr(processor, name, {key: round(value * side / own) for key, value in dict(sizes).items() if value})


def _or(processor: Any, field: str, otherwise: float) -> Any:
    """Return what a processor normalises by, or what changes nothing where it does not."""
    return getattr(processor, field, otherwise) if getattr(processor, "do_normalize", False) else otherwise


def _require_whole_patches(name: str, config: Any, side: int, chosen: bool) -> None:
    vision = getattr(config, "vision_config", config)
    patch = getattr(vision, "patch_size", None)
    patch = patch[0] if isinstance(patch, list | tuple) else patch
    if isinstance(patch, int) and vision.model_type.startswith("convnext"):  # halved between stages, without padding
        patch *= 2 ** (len(vision.depths) - 1)
    if chosen and isinstance(patch, int) and side % patch:
        below = max(patch, side // patch * patch)
        raise VxlabError(
            f"resolution={side}: {name} reads patches of {patch} pixels, and would leave out what is beyond the last "
            f"whole one; choose {below} or {below + patch}"
        )
