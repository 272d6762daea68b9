"""Input pictures: what is read, what is refused, and that nothing is decoded before it is judged."""

import struct
import tracemalloc
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from easel.errors import BadImage, BadRequest, TooLarge
from easel.imaging.decode import flatten, open_picture, picture_size


def file_of(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def noise(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    shape = (height, width, bands) if bands > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), mode)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def webp_header(width: int, height: int) -> bytes:
    """An extended WebP that claims a canvas and has no frame."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_usual_formats_are_read(format):
    data = file_of(noise(), format)
    assert picture_size(data) == (40, 30)
    assert open_picture(data).size == (40, 30)


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_sizes_are_read_from_the_container(lossless):
    data = file_of(noise(33, 21), "WEBP", lossless=lossless)
    with pytest.raises(TooLarge, match="33x21"):
        picture_size(data, max_pixels=33 * 21 - 1)
    assert picture_size(data, max_pixels=33 * 21) == (33, 21)


def short_webp_header() -> bytes:
    """A lossless WebP of 25 bytes that claims 16384x16384."""
    return b"RIFF" + struct.pack("<I", 17) + b"WEBPVP8L" + struct.pack("<I", 5) + b"\x2f" + b"\xff" * 4


@pytest.mark.parametrize(
    "data",
    [png_header(20_000, 20_000), webp_header(16_383, 16_383), short_webp_header()],
    ids=["png", "webp", "short webp"],
)
def test_picture_bomb_is_refused_before_it_takes_memory(data):
    tracemalloc.start()
    with pytest.raises(TooLarge) as caught:
        open_picture(data, field="init_images[0]")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
    assert caught.value.status == 413
    assert "init_images[0]" in caught.value.message
    assert "pixels" in caught.value.message


def test_long_thin_picture_is_refused():
    with pytest.raises(TooLarge):
        open_picture(png_header(40_000, 1))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_cut_off_files_are_refused(format, share):
    data = file_of(noise(), format)
    with pytest.raises(BadImage, match="mask: "):
        open_picture(data[: int(len(data) * share)], field="mask")


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"])
def test_what_is_no_picture_names_the_field_and_the_formats(data):
    with pytest.raises(BadImage) as caught:
        open_picture(data, field="image")
    assert caught.value.status == 422
    assert "image: " in caught.value.message
    assert "PNG, JPEG" in caught.value.message


@pytest.mark.parametrize("format", ["TIFF", "PPM", "ICO"])
def test_other_formats_are_refused(format):
    with pytest.raises(BadImage):
        open_picture(file_of(noise(32, 32), format))


def test_damaged_bytes_never_escape_as_another_error():
    draw = np.random.default_rng(1)
    for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        good = np.frombuffer(file_of(noise(16, 16), format), dtype=np.uint8)
        for _ in range(60):
            damaged = good.copy()
            damaged[draw.integers(0, len(good), 4)] = draw.integers(0, 256, 4)
            try:
                open_picture(damaged.tobytes(), max_pixels=1_000_000)
            except (BadImage, TooLarge):
                continue


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right
    picture = open_picture(file_of(noise(40, 20), "JPEG", exif=exif))
    assert picture.size == (20, 40)


def test_palette_with_graded_transparency_becomes_rgba_and_one_clear_entry_does_not():
    palette = noise(mode="L").convert("P")
    graded = open_picture(file_of(palette, transparency=bytes([0, 128])))
    assert graded.mode == "RGBA"
    assert open_picture(file_of(palette, transparency=3)).mode == "P"


def test_16_bit_greys_are_scaled_not_clipped():
    deep = Image.fromarray(np.full((4, 4), 0x8000, dtype=np.uint16))
    assert np.asarray(flatten(open_picture(file_of(deep)))).max() == 0x80


def test_transparent_parts_take_the_background():
    picture = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    picture.putpixel((1, 0), (10, 20, 30, 255))
    assert np.asarray(flatten(picture, "#ff0000")).tolist() == [[[255, 0, 0], [10, 20, 30]]]


def test_unknown_background_names_the_option():
    with pytest.raises(BadRequest, match="img2img_background_color"):
        flatten(Image.new("RGBA", (1, 1)), "nocolor")
