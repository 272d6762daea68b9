"""Resizing in A1111's ways, and upscalers."""

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from easel.errors import BadRequest, UnknownName
from easel.imaging.resize import CROP, FILL, STRETCH, resize
from easel.imaging.upscale import BUILT_IN, all_upscalers, find_upscaler, upscale


def gradient(width: int, height: int) -> Image.Image:
    x = np.linspace(0, 255, width)[None, :, None] * np.ones((height, 1, 3))
    return Image.fromarray(x.astype(np.uint8))


@pytest.mark.parametrize("mode", [STRETCH, CROP, FILL])
@pytest.mark.parametrize("size", [(64, 64), (96, 64), (40, 70), (1, 50), (33, 17)])
def test_every_mode_gives_the_size_asked_for(mode, size):
    assert resize(gradient(50, 37), *size, mode).size == size


def test_crop_keeps_the_middle():
    picture = gradient(96, 64)
    cropped = np.asarray(resize(picture, 64, 64, CROP))
    assert np.abs(cropped.astype(int) - np.asarray(picture)[:, 16:80]).max() == 0


def test_fill_keeps_everything_and_stretches_the_edges():
    picture = gradient(96, 64)
    filled = np.asarray(resize(picture, 96, 96, FILL)).astype(int)
    assert np.abs(filled[16:80] - np.asarray(picture)).max() == 0
    assert np.abs(filled[:16] - filled[16]).max() <= 1
    assert np.abs(filled[80:] - filled[79]).max() <= 1


def test_fill_leaves_no_black_line_at_odd_sizes():
    white = Image.new("RGB", (60, 20), "white")
    assert np.asarray(resize(white, 60, 67, FILL)).min() == 255
    assert np.asarray(resize(white, 61, 20, FILL)).min() == 255


def test_masks_stay_masks_and_are_not_upscaled_by_models():
    mask = Image.new("L", (8, 8), 255)
    assert resize(mask, 64, 64, FILL, find_upscaler("Nearest", BUILT_IN)).mode == "L"


def test_chosen_upscaler_enlarges_and_lanczos_shrinks():
    dots = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    nearest = find_upscaler("Nearest", BUILT_IN)
    assert resize(dots, 32, 32, upscaler=nearest) == dots.resize((32, 32), Resampling.NEAREST)
    assert resize(dots, 32, 32) == dots.resize((32, 32), Resampling.LANCZOS)
    assert resize(dots, 8, 8, upscaler=nearest) == dots.resize((8, 8), Resampling.LANCZOS)


def test_every_upscale_step_cuts_to_multiples_of_8():
    lanczos = find_upscaler("Lanczos", BUILT_IN)
    assert upscale(gradient(50, 37), 2, lanczos).size == (96, 72)  # recorded: extras, 50x37 by 2
    assert upscale(gradient(50, 37), 1, find_upscaler("None", BUILT_IN)).size == (48, 32)
    assert upscale(gradient(3, 2), 1.5, lanczos).size == (8, 8)


class Doubler:
    """An upscaler with a factor of its own, as models have it."""

    name, scale = "doubler", 2.0

    def __init__(self) -> None:
        self.used = 0

    def upscale(self, picture: Image.Image, scale: float) -> Image.Image:
        self.used += 1
        return picture.resize((picture.width * 2, picture.height * 2), Resampling.NEAREST)


@pytest.mark.parametrize(("scale", "times"), [(0.5, 0), (1, 1), (2, 1), (3, 2), (4, 2), (8, 3), (16, 3)])
def test_a_model_is_applied_until_the_size_is_reached_at_most_three_times(scale, times):
    doubler = Doubler()
    assert upscale(gradient(16, 16), scale, doubler).size == (16 * scale, 16 * scale)
    assert doubler.used == times


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_impossible_factors_are_refused(scale):
    with pytest.raises(BadRequest, match="scale"):
        upscale(gradient(8, 8), scale, BUILT_IN[1])


def test_the_list_begins_with_the_built_in_ones():
    names = [upscaler.name for upscaler in all_upscalers([Doubler()])]
    assert names == ["None", "Lanczos", "Nearest", "doubler"]
    assert {upscaler.scale for upscaler in BUILT_IN} == {4.0}


def test_unknown_upscaler_names_the_field_and_the_nearest():
    with pytest.raises(UnknownName, match=r"hr_upscaler.*did you mean 'Lanczos'"):
        find_upscaler("lanczos", BUILT_IN, "hr_upscaler")
