from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from easel_extensions.outpainting.canvas import Growth, margins
from easel_extensions.outpainting.noise import matched_noise
from PIL import Image as Pillow

from easel import BadRequest, InitImages, encoded

Generate = Any
App = Any
MK2, POOR = "Outpainting mk2", "Poor man's outpainting"


@pytest.fixture
def start() -> InitImages:
    """A picture of many colours."""
    pixels = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    return InitImages(pictures=(encoded(Pillow.fromarray(pixels)),))


def plans(app: App) -> list[Any]:
    return [call.arguments["plan"] for call in app.engine.called("denoise")]


def pixels_of(image: Any) -> np.ndarray:
    return np.asarray(Pillow.open(BytesIO(image.data)).convert("RGB"))


def test_margins_make_a_multiple_of_64() -> None:
    assert margins((64, 64), 16, ["left"]) == {"left": 64, "right": 0, "up": 0, "down": 0}
    assert margins((100, 64), 128, ["left", "right"]) == {"left": 142, "right": 142, "up": 0, "down": 0}


def test_masks_reach_over_the_growing_edge() -> None:
    mask = np.asarray(Growth((64, 64), "left", 64, (4, 0), (64, 64)).mask((128, 64), 1))
    assert (mask[:, :68] == 255).all()
    assert (mask[:, 68:] == 0).all()


def test_noise_has_the_picture_s_levels_and_leaves_it_alone() -> None:
    picture = np.random.default_rng(1).random((64, 128, 3)) * 0.5 + 0.25
    mask = np.zeros((64, 128))
    mask[:, :64] = 1
    noised = matched_noise(picture, mask, 1.0, 0.05)
    assert (noised[:, 64:] == picture[:, 64:]).all()
    assert abs(noised[:, :64].mean() - picture[:, 64:].mean()) < 0.02
    assert abs(noised[:, :64].std() - picture[:, 64:].std()) < 0.05


@pytest.mark.parametrize("first", [["Outpainting"], [""], []], ids=["pai", "a1111", "without"])
def test_both_forms_of_its_arguments(
    easel_app: App, easel_generate: Generate, start: InitImages, first: list[str]
) -> None:
    arguments = [*first, 16, 4, ["left", "up"], 1, 0.05]
    (image,) = easel_generate("a fox", kind="img2img", init=start, scripts={MK2: arguments}).images
    assert pixels_of(image).shape == (128, 128, 3)
    left, up = plans(easel_app)
    assert ((left.width, left.height), (up.width, up.height)) == ((64, 64), (128, 64))
    assert (left.fill, left.request.init.inpaint.blur_x, left.request.init.inpaint.blur_y) == (1, 16, 16)
    assert left.conditioning.mask.mask.mean() == 1.0


def test_the_original_stays_and_sides_grow(easel_generate: Generate, start: InitImages) -> None:
    result = easel_generate(
        "a fox", kind="img2img", init=start, batch_size=2, scripts={MK2: [16, 0, ["right"], 1, 0.05]}
    )
    assert [image.kind for image in result.images] == ["grid", "result", "result"]
    one, two = map(pixels_of, result.images[1:])
    assert one.shape == (64, 128, 3)
    original = np.asarray(Pillow.open(BytesIO(start.pictures[0].data)))
    assert (one[:, :56] == original[:, :56]).all()
    assert not (one[:, 64:] == two[:, 64:]).all()
    assert result.info["all_seeds"] == [1, 2]


def test_poor_man_s_paints_the_tiles_at_the_edges(easel_app: App, easel_generate: Generate, start: InitImages) -> None:
    scripts = {POOR: [16, 4, 2, ["left", "down"]]}
    (image,) = easel_generate("a fox", kind="img2img", init=start, scripts=scripts).images
    assert pixels_of(image).shape == (128, 128, 3)
    assert {plan.fill for plan in plans(easel_app)} == {2}
    assert sorted(plan.pictures[0].seed for plan in plans(easel_app)) == list(range(1, len(plans(easel_app)) + 1))
    assert len(plans(easel_app)) == 8  # of nine tiles the one inside the original stays


@pytest.mark.parametrize(
    ("title", "arguments", "words"),
    [
        (MK2, ["", 4], r"script_args\[1\].*|.*pixels"),
        (MK2, ["", 128, 8, ["sideways"]], r"direction"),
        (MK2, ["", 128, 8, []], r"direction"),
        (MK2, [5, 128, 8, ["left"], 1, 0.05], r"info"),
        (MK2, ["", 128, 8, ["left"], 1, 0.05, 7], "takes 6 arguments"),
        (POOR, [64], r"script_args\[0\]"),
        (POOR, [16, 4, "nothing"], "inpainting_fill"),
    ],
)
def test_wrong_arguments_are_named(
    easel_app: App, easel_generate: Generate, start: InitImages, title: str, arguments: list[Any], words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        easel_generate("", kind="img2img", init=start, scripts={title: arguments})
    assert easel_app.engine.called("denoise") == []
