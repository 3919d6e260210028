"""Images with a class each."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vxlab.experiments.tasks.kinds.kind import Collate, Form, Rows
from vxlab.experiments.tasks.kinds.labelled import Classification


class ImageClassification(Classification):
    """Images, for a model that answers with a number for each class.

    Every split has the columns ``image`` (its file's sha256) and ``label``. Encoded, ``pixel_values`` is that sha256,
    and batches take the pixels from the reader, which keeps them: whatever reader a batch is made with, they are right.
    """

    name: ClassVar[str] = "image_classification"
    auto_class: ClassVar[str] = "AutoModelForImageClassification"
    reads: ClassVar[str] = "images"

    def encode(self, rows: Rows, reader: Any, form: Form, split: str) -> dict[str, list[Any]]:
        images, count = list(rows["image"]), len(rows["image"])
        reader.keep(images)
        return {"pixel_values": images, "label": list(rows["label"]), "length": [1] * count, "row": list(range(count))}

    def collate(self, reader: Any, form: Form) -> Collate:
        def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
            batch = {"pixel_values": reader.batch(reader.keep([row["pixel_values"] for row in rows]))}
            return batch | ({"labels": torch.tensor([row["label"] for row in rows])} if "label" in rows[0] else {})

        return collate

    def inputs(self, rows: Rows, reader: Any, form: Form) -> dict[str, Tensor]:
        return {"pixel_values": reader.batch(reader.keep(list(rows["image"])))}

    def augment(self, batch: Mapping[str, Tensor], form: Form) -> Mapping[str, Tensor]:
        if form.augmentation == "none":
            return batch
        return {**batch, "pixel_values": flip_and_crop(batch["pixel_values"])}


def flip_and_crop(images: Tensor) -> Tensor:
    """Move every image by up to an eighth of its side in both directions, and mirror half of them.

    What comes in from outside is the image mirrored at its edge. Draws from torch's global generator of the processor,
    so that a run's seed decides, whatever the device.

    Args:
        images: (rows, channels, side, side).
    """
    rows, _, high, wide = images.shape
    most = max(1, high // 8)
    moves = torch.randint(0, 2 * most + 1, (2, rows))
    mirrored = torch.rand(rows) < 0.5
    padded = nn.functional.pad(images, (most,) * 4, mode="reflect")
    across = torch.arange(wide).expand(rows, wide)
    across = moves[1, :, None] + torch.where(mirrored[:, None], across.flip(1), across)
    down = moves[0, :, None] + torch.arange(high)
    each = torch.arange(rows)[:, None, None]
    down, across, each = (index.to(images.device) for index in (down[:, :, None], across[:, None, :], each))
    return padded.permute(0, 2, 3, 1)[each, down, across].permute(0, 3, 1, 2).contiguous()
