"""The sizes of a hires pass."""

from __future__ import annotations

from dataclasses import dataclass

from easel.values.request import Hires


@dataclass(frozen=True, slots=True)
class HiresSize:
    """Upscale to width x height pixels, then cut `columns` and `rows` of latents, half from each side."""

    width: int
    height: int
    columns: int = 0
    rows: int = 0


def hires_size(width: int, height: int, hires: Hires, pixels_per_latent: int = 8) -> HiresSize:
    """From the first pass's size: by factor, by one side (the other by aspect), or to cover both and crop."""
    target_width, target_height = hires.resize_x, hires.resize_y
    if target_width == 0 and target_height == 0:
        return HiresSize(int(width * hires.scale), int(height * hires.scale))
    by_width = HiresSize(target_width, target_width * height // width)
    by_height = HiresSize(target_height * width // height, target_height)
    if target_height == 0:
        return by_width
    if target_width == 0:
        return by_height
    cover = by_width if width / height < target_width / target_height else by_height
    columns = (cover.width - target_width) // pixels_per_latent
    rows = (cover.height - target_height) // pixels_per_latent
    return HiresSize(cover.width, cover.height, columns, rows)
