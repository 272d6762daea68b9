from __future__ import annotations

from typing import Any

import pytest
from PIL import Image as Pillow

from easel import BadRequest, InitImages, UnknownName, encoded

Generate = Any
App = Any
START = InitImages(pictures=(encoded(Pillow.new("RGB", (64, 64), "grey")),))


def plans(app: App) -> list[Any]:
    return [call.arguments["plan"] for call in app.engine.called("denoise")]


@pytest.mark.parametrize("upscaler", ["lanczos", 1])
def test_every_tile_is_painted_with_a_seed_of_its_own(easel_app: App, easel_generate: Generate, upscaler: Any) -> None:
    result = easel_generate("a fox", kind="img2img", init=START, scripts={"SD upscale": ["", 8, upscaler, 2.0]})
    (image,) = result.images
    assert sorted(plan.pictures[0].seed for plan in plans(easel_app)) == list(range(1, 10))
    assert "SD upscale overlap: 8, SD upscale upscaler: Lanczos" in image.infotext
    assert result.info["seed"] == 1
    assert result.info["all_seeds"] == [9]


def test_each_run_is_one_picture(easel_generate: Generate) -> None:
    result = easel_generate("a fox", kind="img2img", init=START, n_iter=2, scripts={"SD upscale": ["", 16, "Nearest"]})
    assert [image.seed for image in result.images] == [1, 2]
    assert result.images[0].data != result.images[1].data


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["", 64], BadRequest, r"script_args\[1\]"),
        (["", 8, "Nope"], UnknownName, r"script_args\[2\]"),
        (["", 8, 99], UnknownName, r"script_args\[2\]"),
        (["", 8, "None", 9], BadRequest, "scale"),
        (["", 63, "Lanczos", 4], BadRequest, "too many pictures"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    easel_app: App, easel_generate: Generate, arguments: list[Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        easel_generate("", kind="img2img", init=START, scripts={"SD upscale": arguments})
    assert easel_app.engine.called("denoise") == []
