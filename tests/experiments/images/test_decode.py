"""Every file becomes the RGB that people see, or an error that names it; nothing that Pillow warns of leaks."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from vxlab.errors import VxlabError
from vxlab.experiments.images import ImageSource, decode_image, inspect_images

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(content):
    image = decode_image(ImageSource("here.png", content=content))
    assert image.mode == "RGB"
    return np.asarray(image)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, bits, colour, rows):
    """Return a PNG with any header and any rows, whatever the two have to do with each other."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
def test_lossless_formats_come_back_as_they_were(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert (decoded(encoded(Image.fromarray(COLOURS), kind, **options)) == COLOURS).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_turns_an_image_upright_once(kind, orientation):
    upright = np.zeros((16, 32, 3), dtype=np.uint8)
    upright[:8, :16] = 255  # white at the top left
    lying = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decoded(encoded(Image.fromarray(np.ascontiguousarray(lying)), kind, exif=exif))
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 5


def test_grey_black_and_white_and_palettes_become_rgb():
    grey = Image.fromarray(COLOURS[..., 0])
    assert (decoded(encoded(grey)) == COLOURS[..., :1]).all()
    assert set(np.unique(decoded(encoded(grey.convert("1"))))) <= {0, 255}
    palette = Image.fromarray(COLOURS).quantize(4)
    assert (decoded(encoded(palette)) == np.asarray(palette.convert("RGB"))).all()


def test_what_is_transparent_shows_white():
    alpha = np.array([[0, 255, 128]], dtype=np.uint8)
    black = np.zeros((1, 3, 3), dtype=np.uint8)
    assert decoded(encoded(Image.fromarray(np.dstack([black, alpha]))))[0, :, 0].tolist() == [255, 0, 127]
    assert decoded(encoded(Image.fromarray(np.dstack([black[..., 0], alpha]))))[0, :, 0].tolist() == [255, 0, 127]
    palette = Image.new("P", (3, 1))
    palette.putpalette([10, 10, 10, 20, 20, 20, 30, 30, 30])
    palette.putdata([0, 1, 2])
    one, several = encoded(palette, transparency=1), encoded(palette, transparency=bytes([255, 0, 128]))
    assert decoded(one)[0, :, 0].tolist() == [10, 255, 30]
    assert decoded(several)[0, :, 0].tolist() == [10, 255, 142]
    colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8))
    assert decoded(encoded(colour, transparency=(1, 2, 3))).tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_cmyk_is_converted():
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(decoded(encoded(ink, "JPEG")).reshape(-1, 3).mean(0) - (255, 0, 0)).max() < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_grey_of_16_bits_is_scaled_and_not_cut(kind):
    values = np.array([[0, 128, 255, 257, 1000, 32_896, 65_279, 65_535]], dtype=np.uint16)
    found = decoded(encoded(Image.fromarray(values), kind))
    assert (found == np.rint(values / 257).astype(np.uint8)[..., None]).all()


def test_colours_of_16_bits_are_scaled_and_not_cut():
    values = np.random.default_rng(1).integers(0, 65_536, (5, 7, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    assert np.abs(decoded(png(7, 5, 16, 2, rows)) - values / 257).max() <= 1
    alpha = np.dstack([values, np.full((5, 7), 65_535, dtype=np.uint16)])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in alpha)
    assert np.abs(decoded(png(7, 5, 16, 6, rows)) - values / 257).max() <= 1


def test_a_tiff_of_16_bits_says_whether_0_is_white():
    values = np.array([[0, 65_535, 257]], dtype=np.uint16)
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[262] = 0
    assert decoded(encoded(Image.fromarray(values), "TIFF", tiffinfo=info))[0, :, 0].tolist() == [255, 0, 254]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_without_a_known_scale_are_refused(kind):
    with pytest.raises(VxlabError, match=r"here.png: pixels of mode [IF], of which it is not known what is black"):
        decoded(encoded(Image.fromarray(np.ones((2, 2), dtype=kind)), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_images_in_a_file_the_first_is_read(kind):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (decoded(content) == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(10_000, 9_000), (60_000, 60_000)])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(size):
    bomb = png(*size, 8, 2, b"\0" * 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            VxlabError, match=r"here.png: .* pixels, where 89,478,485 are read at most; make it smaller"
        ):
            decoded(bomb)


@pytest.mark.parametrize("size", [(404, 4), (4, 404)])
def test_a_strip_that_a_processor_would_enlarge_without_end_is_refused(size):
    with pytest.raises(VxlabError, match=r"here.png: .* more than 100 times the other.*crop it"):
        decoded(encoded(Image.new("RGB", size)))
    decoded(encoded(Image.new("RGB", (400, 4))))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_a_truncated_file_is_named(kind):
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = encoded(noise, kind)
    for share in (0.5, 0.95):
        with pytest.raises(VxlabError, match=r"here.png: no image that can be read"):
            decoded(content[: int(len(content) * share)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "here.png: no image, but 0 bytes"),
        (b"not an image", r"here.png: no image that can be read \(none of JPEG, PNG, .*, or damaged\)"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "here.png: .*HEIC, which is not read; save it as JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "here.png: no image that can be read"),
        (png(0, 5, 8, 2, b""), "here.png: "),
    ],
)
def test_what_is_no_image_is_named(content, message):
    with pytest.raises(VxlabError, match=message) as caught:
        decoded(content)
    assert "0x" not in str(caught.value)  # the address of a buffer says nothing


def test_a_lacking_file_is_named(tmp_path):
    with pytest.raises(VxlabError, match="here: not readable"):
        decode_image(ImageSource("here", tmp_path / "no.png"))


def test_damaged_exif_turns_nothing_and_warns_of_nothing():
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0"
    content = encoded(Image.fromarray(COLOURS), "JPEG", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoded(content).shape == COLOURS.shape


def test_threads_decode_alike_and_leave_the_filters_of_warnings_as_they_were():
    contents = [encoded(Image.fromarray(np.roll(COLOURS, number, 0)), "PNG") for number in range(40)]
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(decoded, contents))
    assert all((image == np.roll(COLOURS, number, 0)).all() for number, image in enumerate(found))
    assert list(warnings.filters) == before


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_damage_of_any_kind_is_an_error_that_names_the_image_and_is_found_by_its_check(kind):
    random = np.random.default_rng(3)
    exif = Image.Exif()
    exif[0x0112], exif[0x9286] = 6, b"x" * 20
    content = encoded(Image.fromarray(COLOURS), kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}))
    refused = []
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 4):
            damaged[place] = random.integers(0, 256)
        source = ImageSource("here", content=bytes(damaged))
        try:
            decode_image(source)
        except VxlabError as error:
            refused.append((str(error), inspect_images([source])[0].problem))
    assert all(message.startswith("here: ") and problem for message, problem in refused)
    assert kind in ("BMP", "PPM", "TIFF", "WEBP") or refused
