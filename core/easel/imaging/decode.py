"""Open pictures that strangers send: size and format are judged from the header, before a pixel is decoded."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageColor, ImageOps

from easel.errors import BadImage, BadRequest, TooLarge

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 64 * 1024 * 1024
_MAX_SIDE = 32_768
# What Pillow's readers raise on damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
_16_BIT = ("I;16", "I;16B", "I;16L", "I")


def picture_size(data: bytes, *, field: str = "image", max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(width, height) from the header alone. Errors: BadImage (no picture we read), TooLarge."""
    with _open(data, field, max_pixels) as picture:
        return picture.size


def open_picture(data: bytes, *, field: str = "image", max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode the first frame of a picture, turned as its EXIF orientation says.

    Palette and RGB files whose transparency is given per entry become RGBA, as A1111 does; 16-bit greys become 8-bit
    ones. Metadata stays in `.info`. Errors: BadImage (damaged, cut off, not a picture we read), TooLarge.
    """
    with _open(data, field, max_pixels) as picture:
        try:
            picture.load()
            picture = ImageOps.exif_transpose(picture)
            if picture.mode in ("RGB", "P") and isinstance(picture.info.get("transparency"), bytes):
                return picture.convert("RGBA")
            if picture.mode in _16_BIT:
                return Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8))
            return picture.copy()
        except _DAMAGED as error:
            raise _bad(field, data, "the picture is damaged or cut off") from error


def flatten(picture: Pixels, background: str = "#ffffff") -> Pixels:
    """RGB, with transparent parts of RGBA pictures filled with a CSS color. Errors: BadRequest (no such color)."""
    if picture.mode == "RGBA":
        try:
            color = ImageColor.getcolor(background, "RGBA")
        except ValueError as error:
            raise BadRequest(
                "not a color", field="img2img_background_color", value=background, allowed="#rrggbb or a CSS name"
            ) from error
        filled = Image.new("RGBA", picture.size, color)
        filled.paste(picture, mask=picture)
        picture = filled
    return picture.convert("RGB")


def _open(data: bytes, field: str, max_pixels: int) -> Pixels:
    """Open lazily and check the size; nothing is decoded yet."""
    if not data:
        raise _bad(field, data, "there is no picture")
    if (size := _webp_size(data)) is not None:  # Pillow's WebP reader allocates the whole canvas on opening
        _check_size(size, field, max_pixels)
    try:
        picture = Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # the latter where warnings raise
        raise TooLarge("the picture is too large", field=field, allowed=f"up to {max_pixels} pixels") from error
    except _DAMAGED as error:
        raise _bad(field, data, "this is not a picture that can be read") from error
    _check_size(picture.size, field, max_pixels)
    return picture


def _check_size(size: tuple[int, int], field: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels or max(size) > _MAX_SIDE:
        allowed = f"up to {max_pixels} pixels and {_MAX_SIDE} on a side"
        raise TooLarge("the picture is too large", field=field, value=f"{width}x{height}", allowed=allowed)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a WebP file's canvas by its container (RFC 9649), None for another file."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    data = data[:30].ljust(30, b"\0")
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _bad(field: str, data: bytes, text: str) -> BadImage:
    seen = f"{len(data)} bytes beginning {data[:8]!r}" if data else "nothing"
    return BadImage(text, field=field, value=seen, allowed=", ".join(FORMATS))
