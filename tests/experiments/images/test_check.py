"""Checking finds what decoding would, at less cost, and is done once while a file stays as it is."""

import hashlib
import io
import os

import numpy as np
import pytest
from PIL import Image

from vxlab.experiments.images import ImageSource, check, inspect_images


@pytest.fixture
def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_jpeg_is_read_to_its_end_though_at_an_eighth_of_its_size(noise, options, share):
    file = io.BytesIO()
    noise.save(file, "JPEG", **options)
    whole = file.getvalue()
    cut = whole[: int(share * len(whole))]
    fine, damaged = inspect_images([ImageSource("a.jpg", content=whole), ImageSource("b.jpg", content=cut)])
    assert (fine.problem, fine.sha256) == ("", hashlib.sha256(whole).hexdigest())
    assert damaged.problem.startswith("b.jpg: no image that can be read (")


def test_frames_are_counted_but_not_what_a_phone_adds(tmp_path, noise):
    small = noise.resize((8, 8))
    for name in ("a.gif", "a.png", "a.webp", "a.tiff"):
        small.save(tmp_path / name, save_all=True, append_images=[small.rotate(90), small.rotate(180)])
    small.save(tmp_path / "b.jpg", "MPO", save_all=True, append_images=[small])
    small.save(tmp_path / "c.png")
    files = sorted(tmp_path.iterdir())
    found = {file.name: check.frames for file, check in zip(files, inspect_images(_sources(files)), strict=True)}
    assert found == {"a.gif": 3, "a.png": 3, "a.tiff": 3, "a.webp": 3, "b.jpg": 1, "c.png": 1}


def test_a_file_is_read_again_only_when_it_changes(tmp_path, noise, monkeypatch):
    file = tmp_path / "a.png"
    noise.save(file)
    looked = []
    look_at = check._look_at
    monkeypatch.setattr(check, "_look_at", lambda source: looked.append(source) or look_at(source))
    first, again = (inspect_images(_sources([file]))[0] for _ in range(2))
    assert (first, len(looked)) == (again, 1)
    noise.rotate(90).save(file)
    os.utime(file, ns=(1, 1))
    assert inspect_images(_sources([file]))[0].sha256 != first.sha256
    file.unlink()
    assert inspect_images(_sources([file]))[0].problem == "a.png: not readable (No such file or directory)"


def test_a_file_that_could_not_be_read_is_tried_again(tmp_path, noise, monkeypatch):
    file = tmp_path / "a.png"
    noise.save(file)
    with monkeypatch.context() as during:
        during.setattr(type(file), "read_bytes", lambda path: (_ for _ in ()).throw(OSError(13, "Permission denied")))
        assert inspect_images(_sources([file]))[0].problem == "a.png: not readable (Permission denied)"
    assert inspect_images(_sources([file]))[0].problem == ""


def _sources(files):
    return [ImageSource(file.name, file) for file in files]
