"""Batches of images, and how training ones are changed by chance."""

import pytest
import torch

from vxlab.experiments.tasks.kinds import IMAGE_CLASSIFICATION, Form, kind_of, recorded_kind
from vxlab.experiments.tasks.kinds.images import flip_and_crop


def one_by_one(images):
    """The same by loops: pad by mirroring, cut out, then mirror."""
    rows, _, side, _ = images.shape
    most = max(1, side // 8)
    moves = torch.randint(0, 2 * most + 1, (2, rows))
    mirrored = torch.rand(rows) < 0.5
    padded = torch.nn.functional.pad(images, (most,) * 4, mode="reflect")
    made = []
    for row in range(rows):
        down, across = moves[:, row].tolist()
        cut = padded[row, :, down : down + side, across : across + side]
        made.append(cut.flip(-1) if mirrored[row] else cut)
    return torch.stack(made)


@pytest.mark.parametrize("side", [4, 16, 21])
def test_flip_and_crop_is_what_loops_make_of_the_same_draws(side):
    images = torch.arange(6 * 3 * side * side, dtype=torch.float32).reshape(6, 3, side, side)
    torch.manual_seed(3)
    expected = one_by_one(images)
    torch.manual_seed(3)
    torch.testing.assert_close(flip_and_crop(images), expected, rtol=0, atol=0)


def test_augmentation_moves_and_mirrors_some_and_follows_the_seed():
    images = torch.rand(64, 3, 16, 16)
    torch.manual_seed(0)
    first = flip_and_crop(images)
    assert not torch.equal(first, flip_and_crop(images))
    torch.manual_seed(0)
    assert torch.equal(first, flip_and_crop(images))


def test_batches_are_changed_only_where_the_form_asks_for_it():
    batch = {"pixel_values": torch.rand(4, 3, 16, 16), "labels": torch.arange(4)}
    before = torch.get_rng_state()
    assert IMAGE_CLASSIFICATION.augment(batch, Form()) is batch
    assert torch.equal(before, torch.get_rng_state())
    changed = IMAGE_CLASSIFICATION.augment(batch, Form(augmentation="flip-crop"))
    assert torch.equal(changed["labels"], batch["labels"])
    assert not torch.equal(changed["pixel_values"], batch["pixel_values"])


def test_the_kind_of_images_is_known_by_what_is_read_and_by_its_name():
    assert kind_of(5, images=True) is IMAGE_CLASSIFICATION
    assert kind_of(5).reads == "texts"
    assert recorded_kind({"kind": "image_classification", "num_labels": 5}) is IMAGE_CLASSIFICATION
