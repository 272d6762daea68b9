"""Inpainting masks: which pixels to repaint, and how the result goes back into the picture. White = repaint.

Masks are "L" pictures; boxes are (left, top, right, bottom) in pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageFilter, ImageOps

from easel.imaging.resize import CROP, resize

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Pixels

Box = tuple[int, int, int, int]

# (radius in pixels, how often it is laid over the picture), far surroundings first: A1111's `fill`.
_FILL_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))


def binary_mask(picture: Pixels, *, round_alpha: bool) -> Pixels:
    """The mask that a picture means: its alpha channel when that says anything, else its brightness."""
    if picture.mode == "RGBA" and picture.getextrema()[-1] != (255, 255):
        alpha = picture.getchannel("A")
        return alpha.point(lambda level: 255 if level > 128 else 0) if round_alpha else alpha
    return picture.convert("L")


def blur_mask(mask: Pixels, blur_x: int, blur_y: int) -> Pixels:
    """Gaussian blur with a sigma per axis, in pixels; the kernel reaches 2.5 sigma."""
    levels = np.asarray(mask)
    if blur_x > 0:
        levels = cv2.GaussianBlur(levels, (_kernel_size(blur_x), 1), blur_x)
    if blur_y > 0:
        levels = cv2.GaussianBlur(levels, (1, _kernel_size(blur_y)), blur_y)
    return Image.fromarray(levels)


def _kernel_size(sigma: float) -> int:
    return 2 * int(2.5 * sigma + 0.5) + 1


def crop_box(mask: Pixels, padding: int) -> Box | None:
    """The smallest box around what is not black, `padding` wider on each side within the picture; None if blank."""
    box = mask.getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    return (
        max(left - padding, 0),
        max(top - padding, 0),
        min(right + padding, mask.width),
        min(bottom + padding, mask.height),
    )


def widen_box(box: Box, work_size: tuple[int, int], picture_size: tuple[int, int]) -> Box:
    """Widen one axis of a box to the aspect of `work_size` (width, height), moved and cut to stay in the picture."""
    left, top, right, bottom = box
    aspect = work_size[0] / work_size[1]
    if (right - left) / (bottom - top) > aspect:
        top, bottom = _widen(top, bottom, (right - left) / aspect, picture_size[1])
    else:
        left, right = _widen(left, right, (bottom - top) * aspect, picture_size[0])
    return left, top, right, bottom


def _widen(start: int, end: int, wanted: float, limit: int) -> tuple[int, int]:
    more = int(wanted - (end - start))
    start, end = start - more // 2, end + more - more // 2
    if end >= limit:
        start, end = start - (end - limit), limit
    if start < 0:
        start, end = 0, end - start
    return start, min(end, limit)


def strengthened(mask: Pixels) -> Pixels:
    """Twice the level, at most white: where a whole-picture result covers the original."""
    return mask.point(lambda level: min(255, 2 * level))


def latent_mask(mask: Pixels, width: int, height: int, *, rounded: bool) -> NDArray[np.float32]:
    """The mask on the latent grid: (height, width) in 0…1, 1 = repaint; `rounded` to 0 and 1."""
    # A1111 shrinks the RGB form; the three channels stay equal and so does the result.
    small = np.asarray(mask.resize((width, height)), dtype=np.float32) / 255.0
    return np.around(small) if rounded else small


def fill_masked(picture: Pixels, mask: Pixels) -> Pixels:
    """Paint what the mask covers with colors of its surroundings: blurs of what is left, the widest lowest. RGB."""
    kept = _without(picture, mask)
    filled = Image.new("RGBA", picture.size)
    for radius, times in _FILL_BLURS:
        layer = kept.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            filled.alpha_composite(layer)
    return filled.convert("RGB")


def overlay_of(picture: Pixels, mask: Pixels) -> Pixels:
    """What of `picture` is laid over the result again: RGBA, transparent where the mask is white."""
    return _without(picture, mask).convert("RGBA")


def _without(picture: Pixels, mask: Pixels) -> Pixels:
    """`picture` with the masked part transparent, colors premultiplied with alpha ("RGBa")."""
    kept = Image.new("RGBa", picture.size)
    kept.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    return kept


def lay_over(result: Pixels, overlay: Pixels, box: Box | None) -> Pixels:
    """A result with the kept part of the original over it; with `box` it first goes back to its place there. RGB."""
    base = uncrop(result, box, overlay.size) if box is not None else result.convert("RGBA")
    base.alpha_composite(overlay)
    return base.convert("RGB")


def uncrop(result: Pixels, box: Box, size: tuple[int, int]) -> Pixels:
    """A picture of `size`, RGBA and transparent but for the result at its place."""
    left, top, right, bottom = box
    base = Image.new("RGBA", size)
    base.paste(resize(result, right - left, bottom - top, CROP), (left, top))
    return base
