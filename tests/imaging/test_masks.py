"""Masks and what is done with them, against the recorded A1111."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from easel.imaging.masks import (
    binary_mask,
    blur_mask,
    crop_box,
    fill_masked,
    latent_mask,
    lay_over,
    overlay_of,
    strengthened,
    widen_box,
)

PARTS = Path(__file__).parents[1] / "goldens" / "parts"


@pytest.mark.parametrize("case", json.loads((PARTS / "mask_crop.json").read_text()))
def test_crop_box_is_a1111s(case):
    mask = Image.new("L", tuple(case["image"]))
    mask.paste(255, tuple(case["mask_box"]))
    box = crop_box(mask, case["pad"])
    assert box == tuple(case["crop"])
    assert widen_box(box, tuple(case["proc"]), mask.size) == tuple(case["expanded"])


def test_widened_boxes_stay_inside_the_picture_whatever_they_are():
    draw = np.random.default_rng(0)
    for _ in range(500):
        width, height = draw.integers(1, 200, 2)
        left, right = sorted(draw.choice(width + 1, 2, replace=False))
        top, bottom = sorted(draw.choice(height + 1, 2, replace=False))
        work = tuple(draw.integers(8, 1024, 2))
        wide = widen_box((left, top, right, bottom), work, (width, height))
        assert 0 <= wide[0] <= left < right <= wide[2] <= width
        assert 0 <= wide[1] <= top < bottom <= wide[3] <= height


def test_blank_mask_has_no_box():
    assert crop_box(Image.new("L", (8, 8)), 4) is None


def test_alpha_decides_where_it_says_something():
    picture = Image.new("RGBA", (3, 1), (255, 255, 255, 255))
    assert np.asarray(binary_mask(picture, round_alpha=True)).tolist() == [[255, 255, 255]]
    for x, alpha in enumerate((128, 129, 255)):
        picture.putpixel((x, 0), (0, 0, 0, alpha))
    assert np.asarray(binary_mask(picture, round_alpha=True)).tolist() == [[0, 255, 255]]
    assert np.asarray(binary_mask(picture, round_alpha=False)).tolist() == [[128, 129, 255]]


def test_blur_is_per_axis_and_reaches_two_and_a_half_sigma():
    mask = Image.new("L", (101, 101))
    mask.putpixel((50, 50), 255)
    blurred = np.asarray(blur_mask(mask, 4, 0)).astype(int)
    columns = np.flatnonzero(blurred.sum(axis=0))
    assert (columns[0], columns[-1]) == (40, 60)  # 21 pixels wide
    assert np.flatnonzero(blurred.sum(axis=1)).tolist() == [50]
    assert blur_mask(mask, 0, 0) == mask


def test_strengthened_doubles_up_to_white():
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    assert np.asarray(strengthened(ramp))[0].tolist() == [min(255, 2 * level) for level in range(256)]


def test_latent_mask_is_rounded_or_soft():
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 36, 64))
    hard, soft = (latent_mask(mask, 8, 8, rounded=rounded) for rounded in (True, False))
    assert hard.shape == (8, 8)
    assert set(np.unique(hard)) == {0, 1}
    assert 0 < soft[0, 4] < 1


def test_fill_takes_the_colors_around_and_keeps_the_rest():
    picture = Image.new("RGB", (96, 64), (200, 40, 10))
    mask = Image.new("L", picture.size)
    mask.paste(255, (24, 16, 64, 48))
    picture.paste((0, 255, 0), (24, 16, 64, 48))
    filled = np.asarray(fill_masked(picture, mask)).astype(int)
    assert np.abs(filled - (200, 40, 10)).max() <= 8, "nothing of the green is left"
    outside = np.asarray(mask) == 0
    assert (filled[outside] == (200, 40, 10)).all()


def test_what_is_laid_over_hides_nothing_of_the_masked_part():
    original, result = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    mask = Image.new("L", (16, 16))
    mask.paste(255, (4, 4, 8, 8))
    picture = np.asarray(lay_over(result, overlay_of(original, mask), None))
    assert (picture[4:8, 4:8] == (0, 0, 255)).all()
    picture = picture.copy()
    picture[4:8, 4:8] = (255, 0, 0)
    assert (picture == (255, 0, 0)).all()


def test_cropped_results_go_back_to_their_place():
    original, result = Image.new("RGB", (32, 16), "red"), Image.new("RGB", (64, 64), "blue")
    mask = Image.new("L", (32, 16))
    mask.paste(255, (10, 2, 18, 10))
    picture = np.asarray(lay_over(result, overlay_of(original, mask), (8, 0, 24, 16)))
    assert picture.shape == (16, 32, 3)
    assert (picture[2:10, 10:18] == (0, 0, 255)).all()
    assert (picture[:, :10] == (255, 0, 0)).all()
