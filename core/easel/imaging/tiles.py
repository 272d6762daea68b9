"""A picture cut into overlapping tiles, and put together again with the overlaps faded into each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels


@dataclass(frozen=True, slots=True)
class Tiles:
    """The places of equal tiles that cover a picture, row by row; they may reach beyond a picture that is smaller."""

    size: tuple[int, int]  # of the picture: width, height
    tile: tuple[int, int]
    overlap: int  # at least; pixels
    columns: tuple[int, ...]  # left edges
    rows: tuple[int, ...]  # top edges

    @classmethod
    def of(cls, size: tuple[int, int], tile: tuple[int, int], overlap: int) -> Tiles:
        """As few tiles as cover the picture, evenly spread. `overlap` is less than a tile's sides."""
        return cls(size, tile, overlap, *(_starts(*sides, overlap) for sides in zip(size, tile, strict=True)))

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Left and top edge of every tile."""
        return tuple((left, top) for top in self.rows for left in self.columns)

    def cut(self, picture: Pixels, place: tuple[int, int]) -> Pixels:
        """One tile of a picture."""
        left, top = place
        return picture.crop((left, top, left + self.tile[0], top + self.tile[1]))

    def join(self, pictures: Sequence[Pixels]) -> Pixels:
        """One picture from those of all places; in an overlap the later tile fades in. RGB."""
        whole = Image.new("RGB", self.size)
        width = len(self.columns)
        for number, top in enumerate(self.rows):
            row = Image.new("RGB", (self.size[0], self.tile[1]))
            for left, picture in zip(self.columns, pictures[number * width :], strict=False):
                self._lay(row, picture, left, axis=0)
            self._lay(whole, row, top, axis=1)
        return whole

    def _lay(self, under: Pixels, picture: Pixels, start: int, *, axis: int) -> None:
        """Paste along one axis; what comes first in it has nothing to fade into."""
        place, mask = ((start, 0), (0, start))[axis], Image.new("L", picture.size, 255)
        if start != 0 and self.overlap:
            fade = (np.arange(self.overlap, dtype=np.float32) * 255 / self.overlap).astype(np.uint8)
            wide = np.broadcast_to(fade, (picture.height, self.overlap)) if axis == 0 else fade[:, None]
            wide = wide if axis == 0 else np.broadcast_to(wide, (self.overlap, picture.width))
            mask.paste(Image.fromarray(np.ascontiguousarray(wide)), (0, 0))
        under.paste(picture, place, mask)


def _starts(whole: int, tile: int, overlap: int) -> tuple[int, ...]:
    count = math.ceil((whole - overlap) / (tile - overlap))
    step = (whole - tile) / (count - 1) if count > 1 else 0
    starts = (int(number * step) for number in range(max(1, count)))
    return tuple(whole - tile if start + tile >= whole else start for start in starts)
