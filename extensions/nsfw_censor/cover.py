"""What stands in the place of a flagged picture."""

from __future__ import annotations

from PIL import Image, ImageFilter

_CELLS = 8  # what is left of a picture along its longer side


def blurred(pixels: Image.Image) -> Image.Image:
    """Only the large patches of colour: nothing smaller than an eighth of the picture survives."""
    scale = _CELLS / max(pixels.size)
    cells = [max(1, round(side * scale)) for side in pixels.size]
    small = pixels.convert("RGB").resize((cells[0], cells[1]), Image.Resampling.BOX)
    smooth = small.resize(pixels.size, Image.Resampling.BICUBIC)
    return smooth.filter(ImageFilter.GaussianBlur(max(pixels.size) / _CELLS / 2))


def black(pixels: Image.Image) -> Image.Image:
    """Nothing."""
    return Image.new("RGB", pixels.size)
