"""What img2img starts from and how results go back: against recorded pictures, as far as no model is needed."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from easel.errors import BadImage, BadRequest, UnknownName
from easel.imaging.colors import match_colors
from easel.imaging.start import prepare_start
from easel.values.options import Options
from easel.values.request import EncodedPicture, InitImages, Inpaint

GOLDENS = Path(__file__).parents[1] / "goldens" / "images"
INIT = EncodedPicture((GOLDENS / "_init.png").read_bytes())
MASK = EncodedPicture((GOLDENS / "_mask.png").read_bytes())
PLAIN = InitImages(pictures=(INIT,))


def golden(name: str) -> Image.Image:
    return Image.open(GOLDENS / f"{name}.png").convert("RGB")


def encoded(picture: Image.Image) -> EncodedPicture:
    file = BytesIO()
    picture.save(file, "PNG")
    return EncodedPicture(file.getvalue())


def inpaint(**changes: object) -> InitImages:
    return replace(PLAIN, inpaint=Inpaint(mask=MASK, **{"fill": 1, "full_res": False} | changes))


def test_color_correction_is_a1111s():
    """The same recorded request without correction, corrected here, is the one with it."""
    got = np.asarray(match_colors(golden("i01_img2img_0"), golden("_init"))).astype(int)
    difference = np.abs(got - np.asarray(golden("i14_color_correction_0")))
    assert difference.max() <= 1
    assert difference.mean() < 0.001


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("x01_inpaint_original", {}),
        ("x02_inpaint_fill", {"fill": 0}),
        ("x03_inpaint_latent_noise", {"fill": 2}),
        ("x05_inpaint_only_masked", {"full_res": True, "full_res_padding": 8}),
        ("x07_inpaint_blur0", {"blur_x": 0, "blur_y": 0}),
        ("x10_inpaint_blur_xy", {"blur_x": 8, "blur_y": 0}),
    ],
)
def test_recorded_inpainting_lies_under_our_overlay(name, changes):
    """Where the overlay is opaque the recorded result is the original; elsewhere some color explains it."""
    start = prepare_start(inpaint(**changes), 96, 64, Options())
    overlay = np.asarray(start.pictures[0].overlay).astype(float)
    want = np.asarray(golden(f"{name}_0")).astype(float)
    opaque = overlay[..., 3] == 255
    assert opaque.mean() > 0.5
    assert (want[opaque] == overlay[..., :3][opaque]).all()
    share = overlay[..., 3:] / 255
    least = overlay[..., :3] * share
    assert (want >= least - 2).all()
    assert (want <= least + 255 * (1 - share) + 2).all()


def test_only_masked_works_at_the_size_asked_for_and_gives_back_the_original_size():
    start = prepare_start(inpaint(full_res=True, full_res_padding=8), 128, 128, Options())
    assert start.pictures[0].array().shape == (128, 128, 3)
    assert start.mask.latent(16, 16).shape == (16, 16)
    result = start.pictures[0].put_back(Image.new("RGB", (128, 128), "blue"))
    assert result.size == (96, 64)


def test_only_masked_with_a_blank_mask_is_plain_img2img():
    blank = Inpaint(mask=encoded(Image.new("L", (96, 64))))
    start = prepare_start(replace(PLAIN, inpaint=blank), 96, 64, Options())
    assert start.blank_mask
    assert start.mask is None
    assert start.pictures[0].overlay is None


def test_mask_of_another_size_is_brought_to_the_pictures():
    small = Image.new("L", (48, 32))
    small.paste(255, (12, 8, 32, 24))
    start = prepare_start(replace(PLAIN, inpaint=Inpaint(mask=encoded(small), blur_x=0, blur_y=0)), 64, 64, Options())
    assert start.mask.cover.size == (96, 64)


def test_inverted_mask_is_the_other_part():
    plain = prepare_start(inpaint(blur_x=0, blur_y=0), 96, 64, Options()).mask.latent(12, 8)
    inverted = prepare_start(inpaint(blur_x=0, blur_y=0, invert=True), 96, 64, Options()).mask.latent(12, 8)
    assert (plain + inverted == 1).all()


def test_fill_changes_only_what_is_masked():
    start = prepare_start(inpaint(fill=0, blur_x=0, blur_y=0), 96, 64, Options())
    original = np.asarray(golden("_init")).astype(int)
    changed = np.abs(start.pictures[0].array() - original).max(axis=-1) > 0
    assert changed.any()
    assert not changed[start.mask.pixels() == 0].any()


def test_latent_mode_keeps_the_pictures_size_and_its_overlay_fits_the_result():
    start = prepare_start(replace(inpaint(), resize_mode=3), 128, 64, Options())
    assert start.pictures[0].array().shape == (64, 96, 3)
    assert start.pictures[0].put_back(Image.new("RGB", (128, 64))).size == (128, 64)


def test_without_overlay_the_result_stays_as_it_is():
    start = prepare_start(inpaint(), 96, 64, Options(overlay_inpaint=False))
    result = Image.new("RGB", (96, 64), "blue")
    assert start.pictures[0].put_back(result) == result


def test_mask_pictures_are_made_when_asked_for():
    options = Options(return_mask=True, return_mask_composite=True)
    for init in (inpaint(), inpaint(full_res=True)):
        start = prepare_start(init, 96, 64, options)
        extra = dict(start.mask_pictures(Image.new("RGB", (96, 64), "blue"), options))
        assert {name: picture.mode for name, picture in extra.items()} == {"-mask": "RGB", "-mask-composite": "RGBA"}
        assert {picture.size for picture in extra.values()} == {(96, 64)}
        alpha = np.asarray(extra["-mask-composite"])[..., 3]
        assert (alpha.min(), alpha.max()) == (0, 255)
    assert start.mask_pictures(Image.new("RGB", (96, 64)), Options()) == ()


def test_one_picture_serves_the_batch_and_several_are_one_each():
    assert len(prepare_start(PLAIN, 96, 64, Options(), batch_size=3).pictures) == 3
    two = InitImages(pictures=(INIT, MASK))
    assert len(prepare_start(two, 96, 64, Options(), batch_size=3).pictures) == 2
    with pytest.raises(BadRequest, match="init_images"):
        prepare_start(two, 96, 64, Options(), batch_size=1)


def test_start_pictures_can_be_told_apart():
    """Pillow's pictures compare by content and cannot be hashed; a picture to start from is itself only."""
    start = prepare_start(PLAIN, 96, 64, Options(), batch_size=2)
    assert len(set(start.pictures)) == 1


def test_errors_name_the_field():
    with pytest.raises(BadImage, match=r"init_images\[1\]"):
        prepare_start(InitImages(pictures=(INIT, EncodedPicture(b"x"))), 96, 64, Options(), batch_size=2)
    with pytest.raises(BadImage, match="mask: "):
        prepare_start(replace(PLAIN, inpaint=Inpaint(mask=EncodedPicture(b"x"))), 96, 64, Options())
    with pytest.raises(BadRequest, match="init_images"):
        prepare_start(InitImages(pictures=()), 96, 64, Options())
    with pytest.raises(UnknownName, match="upscaler_for_img2img"):
        prepare_start(PLAIN, 96, 64, Options(upscaler_for_img2img="nope"))


@pytest.mark.parametrize("seed", range(60))
def test_any_sizes_modes_and_settings_fit_together(seed):
    draw = np.random.default_rng(seed)

    def picture(mode: str) -> EncodedPicture:
        width, height = (int(side) for side in draw.integers(1, 90, 2))
        return encoded(Image.new(mode, (width, height), int(draw.integers(0, 256))).convert(mode))

    width, height = (8 * int(side) for side in draw.integers(1, 12, 2))
    mask = Inpaint(
        mask=picture(draw.choice(["L", "RGB", "RGBA"])),
        blur_x=int(draw.integers(0, 9)),
        round=bool(draw.integers(2)),
        fill=int(draw.integers(0, 4)),
        full_res=bool(draw.integers(2)),
        full_res_padding=int(draw.integers(0, 99)),
        invert=bool(draw.integers(2)),
    )
    init = InitImages(pictures=(picture("RGB"),), resize_mode=int(draw.integers(0, 4)), inpaint=mask)
    start = prepare_start(init, width, height, Options(upscaler_for_img2img="Nearest", img2img_color_correction=True))
    if start.mask:
        assert start.mask.latent(width // 8, height // 8).shape == (height // 8, width // 8)
        assert start.mask.pixels().shape == (height, width)
    box = start.mask.box if start.mask else None
    if box or init.resize_mode != 3:
        assert start.pictures[0].array().shape == (height, width, 3)
    result = start.pictures[0].put_back(Image.new("RGB", (width, height)))
    assert result.size == (start.mask.cover.size if box else (width, height))
