"""Bring a picture to a size in A1111's ways: stretch it, cover and crop, or fit and fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image
from PIL.Image import Resampling

from easel.imaging.upscale import Upscaler, upscale

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

STRETCH, CROP, FILL = 0, 1, 2  # A1111's `resize_mode`; 3, stretching the latent, happens in the engine


def resize(picture: Pixels, width: int, height: int, mode: int = STRETCH, upscaler: Upscaler | None = None) -> Pixels:
    """`picture` at width x height. `upscaler` enlarges where the target is larger (else Lanczos); never masks ("L").

    CROP keeps the middle; FILL keeps everything and stretches the outermost pixels over the rest.
    """
    if mode == STRETCH:
        return _scale(picture, width, height, upscaler)
    ratio, own_ratio = width / height, picture.width / picture.height
    if ratio > own_ratio if mode == CROP else ratio < own_ratio:
        inner_width, inner_height = width, picture.height * width // picture.width
    else:
        inner_width, inner_height = picture.width * height // picture.height, height
    inner = _scale(picture, max(1, inner_width), max(1, inner_height), upscaler)
    left, top = width // 2 - inner.width // 2, height // 2 - inner.height // 2
    result = Image.new(picture.mode, (width, height))
    result.paste(inner, (left, top))
    if mode == FILL:
        _fill_borders(result, inner, left, top)
    return result


def _scale(picture: Pixels, width: int, height: int, upscaler: Upscaler | None) -> Pixels:
    factor = max(width / picture.width, height / picture.height)
    if upscaler is not None and upscaler.name != "None" and picture.mode != "L" and factor > 1.0:
        picture = upscale(picture, factor, upscaler)
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Resampling.LANCZOS)


def _fill_borders(result: Pixels, inner: Pixels, left: int, top: int) -> None:
    """Stretch the edges of `inner`, which lies in `result` at (left, top), over what it leaves free.

    An edge is read through a box without extent, so Pillow's filter extrapolates a little: that is A1111's color.
    """
    width, height = inner.size
    right, bottom = result.width - left - width, result.height - top - height
    strips = (
        ((width, top), (0, 0, width, 0), (left, 0)),
        ((width, bottom), (0, height, width, height), (left, top + height)),
        ((left, height), (0, 0, 0, height), (0, top)),
        ((right, height), (width, 0, width, height), (left + width, top)),
    )
    for size, box, place in strips:
        if min(size) > 0:
            result.paste(inner.resize(size, box=box), place)
