"""Preprocessors that need no weights: (H, W, 3) uint8 pictures in, maps of the same kind out.

`resolution` is the short side they work at; `a` and `b` are their values (`preprocessors`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Run = Callable[[Pixels, int, float, float, int], Pixels]  # picture, resolution, a, b, seed
_TILE = 64  # sides are filled up to multiples of this before filters look at their surroundings


def itself(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """The picture is the map."""
    return picture


def canny(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """Edges; `a` and `b` are the thresholds of Canny's hysteresis, in either order."""
    filled, height, width = _filled(picture, resolution)
    return _grey(cv2.Canny(filled, int(a), int(b))[:height, :width])


def invert(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """Black lines on white become white ones on black."""
    return 255 - picture


def threshold(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """White where all channels are above `a`."""
    scaled = _scaled(picture, resolution)
    return _grey(np.where(scaled.min(axis=2) > a, 255, 0).astype(np.uint8))


def tile_resample(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """The picture, `a` times smaller."""
    if a < 1.1:
        return picture
    size = int(picture.shape[1] / a), int(picture.shape[0] / a)
    return _uint8(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def blur_gaussian(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """Blurred with sigma `a`."""
    return _uint8(cv2.GaussianBlur(_scaled(picture, resolution), (0, 0), a))


def scribble_xdog(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """White where a narrow blur is darker than a wide one by more than `a` / 2, in any channel."""
    filled, height, width = _filled(picture, resolution)
    narrow, wide = (cv2.GaussianBlur(filled.astype(np.float32), (0, 0), sigma) for sigma in (0.5, 5.0))
    least = (255 - np.min(wide - narrow, axis=2)).clip(0, 255).astype(np.uint8)
    strength = 2 * (255 - least)  # in eight bits, as upstream
    return _grey(np.where(strength > a, 255, 0).astype(np.uint8)[:height, :width])


def lineart_standard(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """How much darker each pixel is than its surroundings, scaled by the median of what is clearly darker."""
    filled, height, width = _filled(picture, resolution)
    levels = filled.astype(np.float32)
    darker = np.min(cv2.GaussianBlur(levels, (0, 0), 6.0) - levels, axis=2).clip(0, 255)
    lines = darker[darker > 8]
    darker *= 127 / max(16.0, float(np.median(lines)) if lines.size else 16.0)
    return _grey(darker.clip(0, 255).astype(np.uint8)[:height, :width])


def color(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """A grid of flat colours, one for 64 x 64 pixels."""
    height, width = picture.shape[:2]
    if height < width:
        height, width = resolution, round(width / height * resolution)
    else:
        height, width = round(height / width * resolution), resolution
    scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(scaled, (max(1, width // 64), max(1, height // 64)), interpolation=cv2.INTER_CUBIC)
    return _uint8(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST))


def recolor_luminance(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """Lab's lightness, with gamma `a`. Red and blue are taken for each other, as upstream does."""
    return _gamma(cv2.cvtColor(picture, cv2.COLOR_BGR2LAB)[:, :, 0], a)


def recolor_intensity(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """HSV's value, with gamma `a`."""
    return _gamma(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)[:, :, 2], a)


def shuffle(picture: Pixels, resolution: int, a: float, b: float, seed: int) -> Pixels:
    """The picture pulled out of shape by a smooth random field that belongs to `seed`."""
    scaled = _scaled(picture, resolution)
    height, width = scaled.shape[:2]
    random = np.random.RandomState(seed & 0xFFFFFFFF)
    flow = [_field(random, height, width) * np.float32(side - 1) for side in (width, height)]
    return _uint8(cv2.remap(scaled, np.dstack(flow).astype(np.float32), None, cv2.INTER_LINEAR))


RUN: Mapping[str, Run] = {
    "none": itself,
    "reference_only": itself,
    "reference_adain": itself,
    "reference_adain+attn": itself,
    "tile_colorfix": itself,
    "tile_colorfix+sharp": itself,
    "inpaint": itself,
    "inpaint_only": itself,
    "canny": canny,
    "invert": invert,
    "threshold": threshold,
    "tile_resample": tile_resample,
    "blur_gaussian": blur_gaussian,
    "scribble_xdog": scribble_xdog,
    "lineart_standard": lineart_standard,
    "color": color,
    "recolor_luminance": recolor_luminance,
    "recolor_intensity": recolor_intensity,
    "shuffle": shuffle,
}


def _scaled(picture: Pixels, resolution: int) -> Pixels:
    """The picture with a short side of `resolution`."""
    height, width = picture.shape[:2]
    factor = resolution / min(height, width)
    size = round(width * factor), round(height * factor)
    return _uint8(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA))


def _filled(picture: Pixels, resolution: int) -> tuple[Pixels, int, int]:
    """The scaled picture, continued to the right and below; with its height and width before."""
    scaled = _scaled(picture, resolution)
    height, width = scaled.shape[:2]
    return np.pad(scaled, ((0, -height % _TILE), (0, -width % _TILE), (0, 0)), mode="edge"), height, width


def _field(random: np.random.RandomState, height: int, width: int, cell: int = 256) -> NDArray[np.float64]:
    coarse = random.uniform(0, 1, (height // cell + 2, width // cell + 2, 1))
    fine = cv2.resize(coarse, (width + 2 * cell, height + 2 * cell), interpolation=cv2.INTER_CUBIC)
    fine = fine[cell : cell + height, cell : cell + width]
    lifted = fine - fine.min()
    field: NDArray[np.float64] = lifted / lifted.max()
    return field


def _gamma(levels: Pixels, gamma: float) -> Pixels:
    return _grey(((levels.astype(np.float32) / 255) ** gamma * 255).clip(0, 255).astype(np.uint8))


def _grey(levels: Pixels) -> Pixels:
    return np.repeat(levels[:, :, None], 3, axis=2)


def _uint8(levels: NDArray[np.generic]) -> Pixels:
    return np.asarray(levels, dtype=np.uint8)
