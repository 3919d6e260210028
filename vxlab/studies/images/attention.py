"""Where the class token looks before and after training, as images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vxlab.experiments.images import Preparation, decode_image
from vxlab.experiments.models import load_model, prepare_images
from vxlab.experiments.runs import load_trained
from vxlab.experiments.sweeps import Comparison
from vxlab.studies import find_tested_task, first_reports
from vxlab.studies.images.thumbnails import SIDE, data_uri

if TYPE_CHECKING:
    from vxlab.experiments.tasks import Task

IMAGE, BEFORE = "image", "before"
_CLASS_TOKENS = ("cls_token", "class_embedding")
_COLUMNS = ["item", "label", "who", "image", "moved"]
_DARK = 0.15
"""What is left of a pixel's brightness where nothing of the attention lies."""


def class_attention(result: Comparison, block: int, images: int = 5) -> pd.DataFrame:
    """Return what the class token attends to in one block of the frozen model, and of what was trained from it.

    Columns: ``item``, a test image's place in its split, and ``label``, its class; ``who``: ``image``, ``before`` (the
    frozen model), or a candidate, by its reported run of the least seed; ``image``, a PNG as a ``data:`` address, in
    which each patch is the brighter the more of the class token's attention it gets, mean over heads, the brightest
    patch of an image as in the original; ``moved``, half of Σ |after - before| over all tokens, mean over heads: the
    share of the attention that lies elsewhere than before, 0 to 1. Images are the first of each class. Empty for a
    model without a class token, and where the images that were tested are not to be had any more.

    Args:
        result: of a fair sweep.
        block: from 0.
        images: at the most.
    """
    task, reports = find_tested_task(result), first_reports(result)
    records = {name: result.records[key] for name, key in reports.items()}
    own = {name: each for name, each in records.items() if each.trains and each.parameters["backbone"]}
    if task is None or not own:
        return pd.DataFrame(columns=_COLUMNS)
    spec = next(iter(own.values())).spec
    preparation = prepare_images(spec["model"], spec.get("resolution"))
    items = _one_a_class(task, images)
    names = task.splits["test"].select(items)["image"]
    pixels = np.stack([preparation.pixels(decode_image(task.images[name])) for name in names])
    frozen = load_model(spec["model"], task.num_labels, spec.get("quantisation"))
    before = _attention(frozen, preparation, pixels, block)
    if before is None:
        return pd.DataFrame(columns=_COLUMNS)
    after = {name: _attention(load_trained(record), preparation, pixels, block) for name, record in own.items()}
    return _table(task, items, pixels, before, {name: each for name, each in after.items() if each is not None})


def _one_a_class(task: "Task", images: int) -> list[int]:
    """Return the places of the first test image of each of the first classes."""
    labels = np.asarray(task.splits["test"]["label"])
    firsts = [int(np.flatnonzero(labels == number)[0]) for number in np.unique(labels)]
    return firsts[:images]


@torch.inference_mode()
def _attention(model: nn.Module, preparation: Preparation, pixels: Any, block: int) -> Tensor | None:
    """Return the class token's attention (images, heads, tokens) in one block; None where there is no class token."""
    if not any(name.rpartition(".")[2] in _CLASS_TOKENS for name, _ in model.named_parameters()):
        return None
    whole: Any = model.eval()
    whole.set_attn_implementation("eager")  # others do not hand out what they attend to
    found = whole(pixel_values=preparation.normalise(torch.from_numpy(pixels)), output_attentions=True).attentions
    return None if found is None else found[block][:, :, 0].float()


def _table(task: "Task", items: list[int], pixels: Any, before: Tensor, after: Mapping[str, Tensor]) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for number, item in enumerate(items):
        label = task.label_names[task.splits["test"]["label"][item]]
        rows.append((item, label, IMAGE, _shown(pixels[number], None), np.nan))
        rows.append((item, label, BEFORE, _shown(pixels[number], before[number]), np.nan))
        for name, each in after.items():
            moved = float((each[number] - before[number]).abs().sum(-1).mean() / 2)
            rows.append((item, label, name, _shown(pixels[number], each[number]), moved))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _shown(pixels: Any, attention: Tensor | None) -> str:
    """Return an image (3, side, side), its patches darkened where little of the attention (heads, tokens) lies."""
    from PIL import Image

    image = Image.fromarray(pixels.transpose(1, 2, 0)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if attention is None:
        return data_uri(image)
    side = int((attention.shape[-1] - 1) ** 0.5)  # the patches come last, after the class token and any registers
    patches = attention.mean(0)[-side * side :].reshape(side, side).numpy()
    light = _DARK + (1 - _DARK) * patches / patches.max()
    mask = Image.fromarray((255 * light).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return data_uri(Image.fromarray((np.asarray(image) * (np.asarray(mask)[..., None] / 255)).astype(np.uint8)))
