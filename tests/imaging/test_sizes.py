"""Hires sizes and grids."""

import json
from pathlib import Path

import pytest
from PIL import Image

from easel.imaging.grid import grid_image
from easel.imaging.hires import hires_size
from easel.values.request import Hires

PARTS = Path(__file__).parents[1] / "goldens" / "parts"


@pytest.mark.parametrize("case", json.loads((PARTS / "hires_resolution.json").read_text()))
def test_hires_size_is_a1111s(case):
    hires = Hires(scale=case["scale"], resize_x=case["resize_x"], resize_y=case["resize_y"])
    size = hires_size(case["w"], case["h"], hires)
    assert [size.width, size.height] == case["upscale_to"]
    assert [size.columns, size.rows] == case["truncate"]


@pytest.mark.parametrize(
    ("count", "rows", "batch_size", "columns_rows"),
    [
        (2, -1, 1, (2, 1)),
        (4, -1, 4, (2, 2)),
        (5, -1, 1, (3, 2)),
        (6, 0, 2, (3, 2)),
        (3, 7, 1, (1, 3)),
        (1, -1, 1, (1, 1)),
    ],
)
def test_grid_rows(count, rows, batch_size, columns_rows):
    pictures = [Image.new("RGB", (10, 6), (k, 0, 0)) for k in range(count)]
    grid = grid_image(pictures, rows=rows, batch_size=batch_size)
    columns, wanted = columns_rows
    assert grid.size == (columns * 10, wanted * 6)
    for k in range(count):
        assert grid.getpixel((k % columns * 10 + 5, k // columns * 6 + 3)) == (k, 0, 0)


def test_smaller_pictures_are_centred_on_white():
    grid = grid_image([Image.new("RGB", (10, 10)), Image.new("RGB", (4, 4))], rows=1)
    assert grid.getpixel((11, 1)) == (255, 255, 255)
    assert grid.getpixel((15, 5)) == (0, 0, 0)
