"""Where the class token looks, before and after training."""

import base64
import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import vxlab
from vxlab.studies.images import BEFORE, IMAGE, class_attention
from vxlab.studies.images.attention import _shown

Results = dict[int, vxlab.Comparison]


def test_each_image_is_shown_plain_before_and_after_each_candidate(drawn: Results) -> None:
    table = class_attention(drawn[4], block=1, images=2)
    assert list(dict.fromkeys(table["who"])) == [IMAGE, BEFORE, "LoRA r=2", "full fine-tuning"]
    assert list(dict.fromkeys(table["label"])) == ["amber", "jade"]
    assert table["image"].str.startswith("data:image/png;base64,").all()
    moved = table.dropna(subset=["moved"])
    assert set(moved["who"]) == {"LoRA r=2", "full fine-tuning"}
    assert moved["moved"].between(0, 1, inclusive="neither").all()


def test_another_block_attends_otherwise(drawn: Results) -> None:
    first, second = (class_attention(drawn[4], block=block, images=1) for block in (0, 1))
    assert first["image"].iloc[0] == second["image"].iloc[0]
    assert first["image"].iloc[1] != second["image"].iloc[1]


def test_patches_are_as_bright_as_they_are_attended_to() -> None:
    white = np.full((3, 32, 32), 255, dtype=np.uint8)
    attention = torch.full((2, 1 + 16), 0.01)
    attention[:, 1 + 6] = 0.5  # the patch in row 1, column 2
    pixels = _pixels(_shown(white, attention))
    light = pixels[12::24, 12::24, 0]
    assert light.argmax() == 1 * 4 + 2
    assert light.max() == 255
    assert np.sort(light.ravel())[-2] < 60


def test_a_model_without_a_class_token_shows_nothing(drawn: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxlab.studies.images.attention._CLASS_TOKENS", ())
    assert class_attention(drawn[4], block=0).empty


def _pixels(address: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))
