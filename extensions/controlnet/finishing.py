"""What a map does to a finished picture: the kept part of an inpainting, the lightness of a recolouring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image as Pillow

if TYPE_CHECKING:
    from .maps import Pixels

FINISHES = ("inpaint_only", "recolor_luminance", "recolor_intensity")
_SPACES = {
    "recolor_luminance": (cv2.COLOR_RGB2LAB, cv2.COLOR_LAB2RGB, 0),
    "recolor_intensity": (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB, 2),
}


def finished(name: str, found: Pixels, picture: Pillow.Image, blur: int) -> Pillow.Image:
    """A result with what the map of preprocessor `name` (one of FINISHES) brings; both of the same size.

    `blur`: pixels over which an inpainted part fades into what is kept.
    """
    pixels = np.asarray(picture.convert("RGB"))
    if name == "inpaint_only":
        return Pillow.fromarray(_put_in(found, pixels, blur))
    there, back, channel = _SPACES[name]
    changed = np.asarray(cv2.cvtColor(pixels, there)).copy()
    changed[..., channel] = found[..., 0]
    return Pillow.fromarray(np.asarray(cv2.cvtColor(changed, back), dtype=np.uint8))


def _put_in(found: Pixels, pixels: Pixels, blur: int) -> Pixels:
    """The painted part, softened at its edge, over the picture it was painted into."""
    mask = found[..., 3].astype(np.float32) / 255.0
    if blur > 0:
        mask = cv2.blur(cv2.dilate(mask, np.ones((blur, blur), np.uint8)), (blur, blur))
    share = mask[..., None]
    mixed = share * pixels + (1.0 - share) * found[..., :3]
    return np.asarray(mixed.clip(0, 255), dtype=np.uint8)
