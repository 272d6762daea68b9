"""Where a softly masked result covers its original: where the picture has really changed (A1111's soft inpainting)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from easel.imaging.resize import FILL, resize

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Pixels

    from easel.values.conditioning import SoftBlend

_REACH = 2  # cells of the neighbourhood to each side
_SPREAD = 1.5  # of its Gaussian weights, in cells
_BLUR = 4  # pixels, against the steps of the latent grid


def soft_cover(
    distance: NDArray[np.float32], mask: NDArray[np.float32], soft: SoftBlend, size: tuple[int, int]
) -> Pixels:
    """The cover ("L", white = the result) of `size` (width, height) for one picture.

    `distance` (h, w): how far each latent vector has moved; `mask` (h, w) in 0…1, 1 = repaint.
    """
    moved = _window_mean(_window_mean(distance, 0.9, 1.0), 0.25, 0.75)
    freedom = 1 - np.clip(mask, 0, 1) ** (soft.preservation / 2)
    freedom = 0.5 * (1 - soft.mask_influence) + freedom * soft.mask_influence
    half = soft.threshold * freedom / (1.00001 - freedom)  # the distance at which both count the same
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = 1 / (1 + (moved / half) ** soft.hardness)
    kept = np.nan_to_num(kept, nan=0.0)
    kept = kept**3 * (kept * (6 * kept - 15) + 10)  # Perlin's smoother step
    levels = (255 * (1 - kept)).astype(np.uint8)
    return resize(Image.fromarray(levels), *size, FILL).filter(ImageFilter.GaussianBlur(_BLUR))


def _window_mean(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.float32]:
    """Each cell's neighbourhood in order of value, weighted by nearness; the mean of what lies from `low` to `high`.

    (h, w) → (h, w); low and high are shares of the neighbourhood's weight, the part is at least one weight wide.
    """
    offsets = np.arange(-_REACH, _REACH + 1)
    fall = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / _SPREAD**2)
    edge = np.exp(-((_REACH + 1) ** 2) / _SPREAD**2)
    kernel = np.maximum((fall - edge) / (1 - edge), 0)
    side = 2 * _REACH + 1
    around = np.lib.stride_tricks.sliding_window_view(np.pad(values.astype(np.float64), _REACH), (side, side))
    inside = np.lib.stride_tricks.sliding_window_view(np.pad(np.ones(values.shape), _REACH), (side, side))
    found = around.reshape(*values.shape, -1)
    weights = (inside * kernel).reshape(*values.shape, -1)
    order = np.argsort(found, axis=-1, kind="stable")
    found, weights = np.take_along_axis(found, order, -1), np.take_along_axis(weights, order, -1)
    ends = np.cumsum(weights, axis=-1)
    whole = ends[..., -1]
    first, last = _window(whole, low, high)
    share = np.minimum(ends, last[..., None]) - np.maximum(ends - weights, first[..., None])
    share = np.maximum(share, 0)
    mean: NDArray[np.float32] = ((found * share).sum(-1) / share.sum(-1)).astype(np.float32)
    return mean


def _window(whole: NDArray[np.float64], low: float, high: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From where to where; one weight wide at least, moved to lie inside."""
    first, last = whole * low, whole * high
    middle = (first + last) / 2
    narrow = last - first < 1
    first, last = np.where(narrow, middle - 0.5, first), np.where(narrow, middle + 0.5, last)
    beyond = narrow & (last > whole)
    first, last = np.where(beyond, whole - 1, first), np.where(beyond, whole, last)
    before = narrow & (first < 0)
    return np.where(before, 0.0, first), np.where(before, 1.0, last)
