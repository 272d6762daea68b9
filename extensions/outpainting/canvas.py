"""How a picture grows: sides, canvases and masks of both scripts, as A1111 measures them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from .noise import matched_noise

if TYPE_CHECKING:
    from collections.abc import Collection

    from PIL.Image import Image as Pixels

SIDES = ("left", "right", "up", "down")
GRID = 64  # pixels that sides of the whole picture are multiples of


def margins(size: tuple[int, int], pixels: int, sides: Collection[str]) -> dict[str, int]:
    """Pixels to add on each side, a little more than `pixels` so that the whole is a multiple of 64."""
    more = {side: pixels if side in sides else 0 for side in SIDES}
    for (first, last), length in zip((("left", "right"), ("up", "down")), size, strict=True):
        spare = up(length + more[first] + more[last], GRID) - length
        if more[first]:
            more[first] = more[first] * spare // (more[first] + more[last])
        if more[last]:
            more[last] = spare - more[first]
    return more


def up(length: int, step: int) -> int:
    """The next multiple of `step`."""
    return math.ceil(length / step) * step


@dataclass(frozen=True, slots=True)
class Growth:
    """One side of one picture that is to grow by `pixels`; `blur` (x, y) as asked; `pass_size` is that of the request.

    The canvas is a multiple of 64 large; the pass sees the part of it at the growing side.
    """

    size: tuple[int, int]
    side: str
    pixels: int
    blur: tuple[int, int]
    pass_size: tuple[int, int]

    @property
    def _axis(self) -> int:
        return 0 if self.side in ("left", "right") else 1

    @property
    def _leading(self) -> bool:
        return self.side in ("left", "up")

    @property
    def grown(self) -> tuple[int, int]:
        """The picture's size afterwards."""
        width, height = self.size
        return (width + self.pixels, height) if self._axis == 0 else (width, height + self.pixels)

    @property
    def canvas(self) -> tuple[int, int]:
        """The grown picture's size, as a multiple of 64."""
        width, height = self.grown
        return up(width, GRID), up(height, GRID)

    @property
    def seen(self) -> tuple[int, int]:
        """The size of the part that the pass sees: no longer than the request's along the growing axis."""
        lengths = list(self.canvas)
        lengths[self._axis] = min(self.pass_size[self._axis], self.grown[self._axis])
        return lengths[0], lengths[1]

    def box(self) -> tuple[int, int, int, int]:
        """That part's place on the canvas."""
        left, top = self.place(self.seen)
        return left, top, left + self.seen[0], top + self.seen[1]

    def place(self, size: tuple[int, int]) -> tuple[int, int]:
        """Where on the canvas a part of `size` lies: at the growing side, and at the right and the bottom else."""
        left, top = self.canvas[0] - size[0], self.canvas[1] - size[1]
        if self._leading:
            return (0, top) if self._axis == 0 else (left, 0)
        return left, top

    def mask(self, size: tuple[int, int], blurs: int) -> Pixels:
        """White where to paint, over the edge of the picture by `blurs` times the blur."""
        start, end = [0, 0], list(self.grown)
        edge = self.pixels + self.blur[self._axis] * blurs
        if self._leading:
            start[self._axis] = edge
        else:
            end[self._axis] = size[self._axis] - edge
        return masked(size, (start[0], start[1], end[0], end[1]))

    def noised(self, picture: Pixels, fall_off: float, colors: float) -> Pixels:
        """The picture on its canvas, with noise that matches it where there is nothing yet."""
        canvas = Image.new("RGB", self.canvas)
        at = [0, 0]
        at[self._axis] = self.pixels if self._leading else 0
        canvas.paste(picture, (at[0], at[1]))
        levels = np.asarray(canvas) / 255.0
        made = matched_noise(levels, np.asarray(self.mask(self.canvas, 1)) / 255.0, fall_off, colors)
        return Image.fromarray((made * 255).astype(np.uint8))

    def finished(self, canvas: Pixels, result: Pixels) -> Pixels:
        """The canvas with a pass's result on it, cut to the grown picture."""
        canvas = canvas.copy()
        canvas.paste(result, self.place(result.size))
        return canvas.crop((0, 0, *self.grown))


def masked(size: tuple[int, int], box: tuple[int, int, int, int]) -> Pixels:
    """White ("L") with a black box, its last column and row included."""
    mask = Image.new("L", size, "white")
    if box[0] <= box[2] and box[1] <= box[3]:
        ImageDraw.Draw(mask).rectangle(box, fill="black")
    return mask
