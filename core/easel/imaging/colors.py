"""A1111's color correction: give a result the color distribution of the picture it was made from.

Per LAB channel the histogram is matched to the target's; the brightness of the result is then kept (W3C Compositing
and Blending Level 1, blend mode "luminosity").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Pixels

# Of red, green and blue. The W3C text rounds to .3 .59 .11; A1111 does not.
_LUMINOSITY = np.array([0.299, 0.587, 0.114])


def match_colors(picture: Pixels, target: Pixels) -> Pixels:
    """`picture` in the colors of `target` (both RGB, of any size) and with its own brightness."""
    original = np.asarray(picture)
    lab, target_lab = (cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2LAB) for image in (picture, target))
    matched = np.stack([_match_channel(lab[..., c], target_lab[..., c]) for c in range(3)], axis=-1)
    colored = cv2.cvtColor(matched, cv2.COLOR_LAB2RGB)
    blended = _set_luminosity(colored / 255.0, (original / 255.0) @ _LUMINOSITY)
    return Image.fromarray((blended * 255.0).astype(np.uint8))  # cut, not rounded: as A1111


def _match_channel(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Map levels so that the cumulative histogram (H, W) → (H, W) becomes the target's."""
    source_share = np.cumsum(np.bincount(source.ravel(), minlength=256)) / source.size
    counts = np.bincount(target.ravel(), minlength=256)
    levels = np.flatnonzero(counts)
    target_share = np.cumsum(counts[levels]) / target.size
    mapped: NDArray[np.uint8] = np.interp(source_share, target_share, levels)[source].astype(np.uint8)
    return mapped


def _set_luminosity(color: NDArray[np.float64], luminosity: NDArray[np.float64]) -> NDArray[np.float64]:
    """SetLum and ClipColor of the W3C text: (H, W, 3) and (H, W) in 0…1 → (H, W, 3) in 0…1."""
    level = luminosity[..., None]
    shifted = color + level - (color @ _LUMINOSITY)[..., None]
    low, high = shifted.min(axis=-1, keepdims=True), shifted.max(axis=-1, keepdims=True)
    below = np.where(low < 0, level / np.maximum(level - low, 1e-12), 1.0)
    shifted = level + (shifted - level) * below
    above = np.where(high > 1, (1 - level) / np.maximum(high - level, 1e-12), 1.0)
    clipped: NDArray[np.float64] = np.clip(level + (shifted - level) * above, 0.0, 1.0)
    return clipped
