"""Pictures to files and the generation data in them."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from easel.errors import UnknownName
from easel.imaging.encode import encode, format_of
from easel.imaging.metadata import decode_user_comment, encode_user_comment, read_generation_data

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))
TEXTS = ["a cat\nSteps: 2, Sampler: Euler", '日本, "x"\nNegative prompt: ё\nSteps: 3', "x" * 20_000]


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("text", TEXTS, ids=["latin", "unicode", "long"])
def test_infotext_comes_back(format, text):
    data = encode(PICTURE, format, infotext=text)
    assert read_generation_data(data).infotext == text
    assert Image.open(BytesIO(data)).format == format.upper()


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_without_infotext_there_is_none(format):
    found = read_generation_data(encode(PICTURE, format))
    assert (found.infotext, found.items) == ("", {})


def test_png_and_lossless_webp_keep_every_pixel():
    for data in (encode(PICTURE, "png"), encode(PICTURE, "webp", lossless=True)):
        assert (np.asarray(Image.open(BytesIO(data)).convert("RGB")) == np.asarray(PICTURE)).all()


def test_latin_text_is_where_a1111_puts_it():
    assert b"tEXtparameters\0a cat" in encode(PICTURE, "png", infotext="a cat")
    assert b"iTXtparameters\0" in encode(PICTURE, "png", infotext="日本")


def test_jpeg_of_a_transparent_picture_and_of_a_text_too_long_for_it():
    data = encode(PICTURE.convert("RGBA"), "jpeg", infotext="x" * 40_000)
    assert read_generation_data(data).infotext == ""


def test_quality_is_honoured():
    assert len(encode(PICTURE, "jpeg", quality=20)) < len(encode(PICTURE, "jpeg", quality=95))


def test_other_texts_are_items():
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat")
    text.add_text("postprocessing", "upscaled")
    file = BytesIO()
    PICTURE.save(file, "PNG", pnginfo=text)
    found = read_generation_data(file.getvalue())
    assert (found.infotext, found.items) == ("a cat", {"postprocessing": "upscaled"})


def test_gif_comment_is_read():
    file = BytesIO()
    PICTURE.save(file, "GIF", comment="a cat ё".encode())
    assert read_generation_data(file.getvalue()).infotext == "a cat ё"


@pytest.mark.parametrize(
    ("comment", "infotext"),
    [
        (
            '{"uc": "bad", "steps": 28, "sampler": "k_euler_ancestral", "scale": 11, "seed": 5}',
            "a cat\nNegative prompt: bad\nSteps: 28, Sampler: Euler a, CFG scale: 11, Seed: 5, Size: 32x24, "
            "Clip skip: 2, ENSD: 31337",
        ),
        ('{"uc": "bad"}', ""),
        ("no JSON", ""),
        ("[]", ""),
    ],
)
def test_novelai_pictures(comment, infotext):
    text = PngImagePlugin.PngInfo()
    for key, value in {"Software": "NovelAI", "Description": "a cat", "Comment": comment}.items():
        text.add_text(key, value)
    file = BytesIO()
    PICTURE.save(file, "PNG", pnginfo=text)
    assert read_generation_data(file.getvalue()).infotext == infotext


@pytest.mark.parametrize(
    "comment",
    [
        encode_user_comment("a cat"),
        b"UNICODE\0" + "a cat".encode("utf-16-le"),
        b"ASCII\0\0\0a cat",
        bytes(8) + b"a cat\0\0",
        b"a cat",
        "a cat",
    ],
)
def test_user_comments_of_other_writers(comment):
    assert decode_user_comment(comment) == "a cat"


def test_unknown_format_names_the_option():
    assert [format_of(name) for name in ("png", "JPG", "jpeg", "webp")] == ["png", "jpeg", "jpeg", "webp"]
    with pytest.raises(UnknownName, match=r"samples_format.*'png'"):
        format_of("bmp")
