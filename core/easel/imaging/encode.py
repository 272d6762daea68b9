"""Pictures to files: PNG, JPEG and WebP, with their generation data inside."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from easel.errors import UnknownName
from easel.imaging.metadata import EXIF_FOLDER, USER_COMMENT, encode_user_comment
from easel.values.request import EncodedPicture

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

# By A1111's option `samples_format`.
FORMATS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
MAX_SIDE = {"png": 2**31 - 1, "jpeg": 65_500, "webp": 16_383}  # pixels
_EXIF_LIMIT = 65_000  # a JPEG segment holds no more; room is left for the directory


def format_of(option: str, field: str = "samples_format") -> str:
    """The format that an option names: "png", "jpeg" or "webp". Errors: UnknownName."""
    if option.lower() not in FORMATS:
        raise UnknownName.among(field, option, FORMATS)
    return FORMATS[option.lower()]


def holds(format: str, infotext: str) -> bool:
    """Is there room for this text in a file of that format? (In a JPEG for 64 KiB.)"""
    return format != "jpeg" or 2 * len(infotext) < _EXIF_LIMIT


def encode(
    picture: Pixels,
    format: str = "png",
    *,
    infotext: str = "",
    texts: Sequence[tuple[str, str]] = (),
    quality: int = 80,
    lossless: bool = False,
) -> bytes:
    """`picture` as a file of `format` (see `format_of`), without a text that it cannot hold; a JPEG has no alpha.

    `texts` are further ones by name, which only a PNG has room for.
    """
    file = BytesIO()
    if format == "png":
        # Filtered rows of pictures hardly repeat, so run lengths and Huffman codes do: the size of zlib's level 6 in
        # a third of its time (512x512: 28 instead of 80 ms).
        picture.save(file, "PNG", pnginfo=_png_text(infotext, texts), compress_type=zlib.Z_RLE)
    elif format == "jpeg":
        comment = infotext if holds(format, infotext) else ""
        picture.convert("RGB").save(file, "JPEG", quality=quality, exif=_exif(comment))
    else:
        picture.save(file, "WEBP", quality=quality, lossless=lossless, exif=_exif(infotext))
    return file.getvalue()


def _png_text(infotext: str, texts: Sequence[tuple[str, str]]) -> PngInfo | None:
    named = [*([("parameters", infotext)] if infotext else []), *texts]
    if not named:
        return None
    info = PngInfo()
    for name, text in named:
        info.add_text(name, text)  # tEXt, or iTXt when it is not Latin-1
    return info


def _exif(infotext: str) -> bytes:
    if not infotext:
        return b""
    exif = Image.Exif()
    exif.get_ifd(EXIF_FOLDER)[USER_COMMENT] = encode_user_comment(infotext)
    return exif.tobytes()


def encoded(picture: Pixels) -> EncodedPicture:
    """A picture as a request carries it, without loss."""
    return EncodedPicture(encode(picture, "png"))
