from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from easel import BadRequest, InitImages, Inpaint, SoftBlend, encoded

Generate = Any
App = Any


@pytest.fixture
def masked() -> InitImages:
    """A grey picture, and a mask that fades from left to right."""
    fade = np.linspace(0, 255, 64).astype(np.uint8)[None].repeat(64, 0)
    inpaint = Inpaint(mask=encoded(Pillow.fromarray(fade)), blur_x=0, blur_y=0, full_res=False, fill=1)
    return InitImages(pictures=(encoded(Pillow.new("RGB", (64, 64), "grey")),), inpaint=inpaint)


def pixels(image: Any) -> bytes:
    return Pillow.open(BytesIO(image.data)).tobytes()


def mask_of(app: App) -> Any:
    return app.engine.called("denoise")[-1].arguments["plan"].conditioning.mask


def test_the_mask_keeps_its_degrees_and_says_how_it_blends(
    easel_app: App, easel_generate: Generate, masked: InitImages
) -> None:
    scripts = {"soft inpainting": [True, 2, 0.25, 8, 0, 0.5, 2]}
    result = easel_generate("a fox", kind="img2img", init=masked, denoising_strength=0.6, scripts=scripts)
    mask = mask_of(easel_app)
    assert mask.soft == SoftBlend(bias=2, preservation=0.25, contrast=8)
    assert 0.2 < mask.mask[0, 3] < 0.8
    assert "Soft inpainting enabled: True, Soft inpainting schedule bias: 2" in result.images[0].infotext
    assert len(easel_app.engine.called("distances")) == 1


def test_off_unless_enabled(easel_app: App, easel_generate: Generate, masked: InitImages) -> None:
    plain = easel_generate("a fox", kind="img2img", init=masked)
    assert set(np.unique(mask_of(easel_app).mask)) == {0.0, 1.0}
    same = easel_generate("a fox", kind="img2img", init=masked, scripts={"Soft inpainting": [False, 5]})
    assert mask_of(easel_app).soft is None
    assert pixels(same.images[0]) == pixels(plain.images[0])


def test_without_a_mask_it_says_so(easel_generate: Generate, masked: InitImages) -> None:
    plain = InitImages(pictures=masked.pictures)
    result = easel_generate("a fox", kind="img2img", init=plain, scripts={"Soft Inpainting": [True]})
    assert result.warnings == ("Soft Inpainting: there is no mask",)
    assert [line.outcome for line in result.report if line.item == "Soft Inpainting"] == ["ignored"]
    with pytest.raises(BadRequest, match="there is no mask"):
        easel_generate("", kind="img2img", init=plain, strict=True, scripts={"Soft Inpainting": [True]})


def test_a_wrong_argument_is_named(easel_generate: Generate, masked: InitImages) -> None:
    with pytest.raises(BadRequest, match="transition_contrast_boost"):
        easel_generate("", kind="img2img", init=masked, scripts={"Soft Inpainting": [True, 1, 0.5, 0]})
