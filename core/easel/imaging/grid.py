"""Several pictures as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels


def grid_image(pictures: Sequence[Pixels], *, rows: int = -1, batch_size: int = 1) -> Pixels:
    """The pictures in rows, each centred in a cell of the largest size, on white; RGB.

    `rows` as A1111's option `n_rows`: a number, 0 for one row per picture of a batch, -1 for about a square.
    """
    count = len(pictures)
    wanted = rows if rows > 0 else batch_size if rows == 0 else round(math.sqrt(count))
    wanted = min(wanted, count)
    columns = math.ceil(count / wanted)
    cell_width = max(picture.width for picture in pictures)
    cell_height = max(picture.height for picture in pictures)
    grid = Image.new("RGB", (columns * cell_width, wanted * cell_height), "white")
    for index, picture in enumerate(pictures):
        left = index % columns * cell_width + (cell_width - picture.width) // 2
        top = index // columns * cell_height + (cell_height - picture.height) // 2
        grid.paste(picture, (left, top))
    return grid
