"""Images are decoded once, and batches hold the pixels of the images that they name."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from vxlab.errors import VxlabError
from vxlab.experiments.images import ImageReader, ImageSource, Preparation, reader

SIDE = 8


@pytest.fixture
def sources(tmp_path):
    found = {}
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((SIDE, SIDE, 3), 10 * number, dtype=np.uint8)).save(path)
        source = ImageSource(path.name, path)
        found[source.sha256()] = source
    return found


@pytest.fixture
def names(sources):
    return list(sources)


@pytest.fixture
def images(sources):
    processor = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return ImageReader(Preparation(processor, SIDE, (0.5,) * 3, (0.25,) * 3), sources)


def test_batches_hold_the_images_that_they_name(images, names):
    numbers = images.keep([names[3], names[1], names[3]])
    assert images.pixels(numbers)[:, 0, 0, 0].tolist() == [30, 10, 30]
    batch = images.batch(numbers)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch[:, 0, 0, 0], (torch.tensor([30.0, 10.0, 30.0]) / 255 - 0.5) / 0.25)


def test_what_came_later_does_not_move_what_was_kept(images, names):
    first = images.keep([names[4], names[0]])
    then = images.keep([names[2], names[0], names[1]])
    assert images.pixels([*first, *then])[:, 0, 0, 0].tolist() == [40, 0, 20, 0, 10]


def test_every_image_is_decoded_once(images, names, monkeypatch):
    decoded = []
    decode = reader.decode_image
    monkeypatch.setattr(reader, "decode_image", lambda source: decoded.append(source.place) or decode(source))
    images.keep([names[0], names[1], names[0]])
    images.keep([names[1], names[2]])
    assert sorted(decoded) == ["0.png", "1.png", "2.png"]


def test_an_image_that_is_gone_is_named_and_nothing_is_kept_of_its_batch(images, names, sources):
    images.keep([names[0]])
    sources[names[2]].path.unlink()
    with pytest.raises(VxlabError, match=r"2\.png"):
        images.keep([names[1], names[2]])
    assert images.pixels(images.keep([names[3], names[1]]))[:, 0, 0, 0].tolist() == [30, 10]


def test_a_file_that_changed_since_its_task_was_loaded_is_refused(images, sources, names):
    Image.fromarray(np.full((SIDE, SIDE, 3), 99, dtype=np.uint8)).save(sources[names[2]].path)
    with pytest.raises(VxlabError, match=r"2\.png: another file than when its task was loaded"):
        images.keep([names[1], names[2]])


def test_a_full_disk_is_an_error_that_says_what_to_do(images, names, monkeypatch):
    class Full:
        def seek(self, *_): ...
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(images, "_file", Full())
    with pytest.raises(VxlabError, match=r"No space left.*TMPDIR.*resolution"):
        images.keep([names[0]])
