"""What an img2img pass starts from, and how its result is put back: resizing, masks, crops, overlays, colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from easel.errors import BadRequest
from easel.imaging.colors import match_colors
from easel.imaging.decode import MAX_PIXELS, flatten, open_picture
from easel.imaging.masks import (
    Box,
    binary_mask,
    blur_mask,
    crop_box,
    fill_masked,
    latent_mask,
    lay_over,
    overlay_of,
    strengthened,
    uncrop,
    widen_box,
)
from easel.imaging.resize import FILL, STRETCH, resize
from easel.imaging.upscale import BUILT_IN, Upscaler, find_upscaler
from easel.values.conditioning import Crop

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Pixels

    from easel.values.options import Options
    from easel.values.request import InitImages, Inpaint

_STRETCH_LATENT = 3  # resize_mode


@dataclass(frozen=True, slots=True, eq=False)
class StartMask:
    """A prepared mask: `work` at the pass's size, `cover` where results cover the original, `box` if cropped.

    `own_latent`: what is denoised, where that is not `work`.
    """

    work: Pixels
    cover: Pixels
    box: Box | None
    rounded: bool
    own_latent: Pixels | None = None

    def latent(self, width: int, height: int) -> NDArray[np.float32]:
        """(height, width) on the latent grid in 0…1, 1 = repaint."""
        return latent_mask(self.own_latent or self.work, width, height, rounded=self.rounded)

    def pixels(self) -> NDArray[np.float32]:
        """(H, W) at the pass's size in 0…1, 1 = repaint: what inpainting checkpoints are shown."""
        levels = np.asarray(self.work, dtype=np.float32) / 255.0
        return np.around(levels) if self.rounded else levels


@dataclass(frozen=True, slots=True, eq=False)
class StartPicture:
    """One picture to start from: `pixels` to encode, `overlay` to lay over the result, `colors` to match.

    `under` is what the overlay was cut out of.
    """

    pixels: Pixels
    under: Pixels
    overlay: Pixels | None = None
    colors: Pixels | None = None
    box: Box | None = None

    def array(self) -> NDArray[np.uint8]:
        """(H, W, 3) for the encoder."""
        return np.asarray(self.pixels)

    def covered(self, cover: Pixels) -> StartPicture:
        """The same with an overlay for a result that covers it where `cover` ("L", of the pass's size) is white."""
        if self.box is not None:
            cover = uncrop(cover, self.box, self.under.size).convert("L")
        return replace(self, overlay=overlay_of(self.under, cover))

    def put_back(self, result: Pixels) -> Pixels:
        """The final picture: colors matched, back in its place, the kept part of the original over it."""
        if self.colors is not None:
            result = match_colors(result, self.colors)
        return result if self.overlay is None else lay_over(result, self.overlay, self.box)


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """All pictures of one img2img batch. `blank_mask`: a mask was given, but "only masked" found nothing in it."""

    pictures: tuple[StartPicture, ...]
    mask: StartMask | None = None
    blank_mask: bool = False

    @property
    def crop(self) -> Crop | None:
        """What of the start pictures a pass over the masked part sees; None when it sees them whole."""
        if self.mask is None or self.mask.box is None:
            return None
        return Crop(self.mask.box, self.mask.cover.size)

    def mask_pictures(self, result: Pixels, options: Options) -> tuple[tuple[str, Pixels], ...]:
        """(suffix, picture) of the extra pictures that the options `return_mask`, `return_mask_composite` ask for.

        `result` is the picture as the model made it, before anything was laid over it.
        """
        if self.mask is None:
            return ()
        extra, cover = [], self.mask.cover
        if options.return_mask:
            extra.append(("-mask", cover.convert("RGB")))
        if options.return_mask_composite:
            box = self.mask.box
            made = uncrop(result, box, cover.size) if box else result.convert("RGBA")
            blank = Image.new("RGBa", made.size)
            made = Image.composite(made.convert("RGBa"), blank, resize(cover, *made.size, FILL)).convert("RGBA")
            extra.append(("-mask-composite", made))
        return tuple(extra)


def prepare_start(
    init: InitImages,
    width: int,
    height: int,
    options: Options,
    upscalers: Sequence[Upscaler] = BUILT_IN,
    *,
    batch_size: int = 1,
    max_pixels: int = MAX_PIXELS,
) -> Start:
    """Read and prepare the pictures of an img2img request for a pass at width x height.

    One picture serves the whole batch; several are one each. With `resize_mode` 3 pictures keep their size: the
    latent is to be stretched. Errors: BadImage, TooLarge, BadRequest naming the field.
    """
    if not init.pictures:
        raise BadRequest("at least one picture is needed", field="init_images", value=[])
    if len(init.pictures) > batch_size:
        allowed = f"up to batch_size ({batch_size})"
        raise BadRequest("too many pictures", field="init_images", value=len(init.pictures), allowed=allowed)
    name = options.upscaler_for_img2img
    upscaler = find_upscaler(name, upscalers, "upscaler_for_img2img") if name else None
    opened = [
        flatten(
            open_picture(picture.data, field=f"init_images[{number}]", max_pixels=max_pixels),
            options.img2img_background_color,
        )
        for number, picture in enumerate(init.pictures)
    ]
    mask = None
    if init.inpaint is not None:
        mask_picture = open_picture(init.inpaint.mask.data, field="mask", max_pixels=max_pixels)
        mask = _prepare_mask(mask_picture, init.inpaint, init.resize_mode, (width, height), opened[0].size)
        own = init.inpaint.latent_mask
        if mask is not None and own is not None:
            mask = replace(mask, own_latent=open_picture(own.data, field="latent_mask").convert("L"))
    pictures = tuple(_prepare_picture(picture, init, mask, (width, height), options, upscaler) for picture in opened)
    repeated = pictures * batch_size if len(pictures) == 1 else pictures
    return Start(repeated, mask, blank_mask=init.inpaint is not None and mask is None)


def _prepare_mask(
    picture: Pixels, inpaint: Inpaint, resize_mode: int, size: tuple[int, int], start_size: tuple[int, int]
) -> StartMask | None:
    """None for "only masked" with a blank mask: there is nothing to crop to, A1111 makes a plain img2img of it."""
    mask = binary_mask(picture, round_alpha=inpaint.round)
    if inpaint.invert:
        mask = ImageOps.invert(mask)
    if inpaint.full_res and mask.size != start_size:  # the box must mean the same place in both
        mask = mask.resize(start_size)
    mask = blur_mask(mask, inpaint.blur_x, inpaint.blur_y)
    if not inpaint.full_res:
        work = resize(mask, *size, min(resize_mode, FILL))
        return StartMask(work, strengthened(work), None, inpaint.round)
    box = crop_box(mask, inpaint.full_res_padding)
    if box is None:
        return None
    box = widen_box(box, size, mask.size)
    return StartMask(resize(mask.crop(box), *size, FILL), mask, box, inpaint.round)


def _prepare_picture(
    picture: Pixels,
    init: InitImages,
    mask: StartMask | None,
    size: tuple[int, int],
    options: Options,
    upscaler: Upscaler | None,
) -> StartPicture:
    box = mask.box if mask else None
    stretch_latent = init.resize_mode == _STRETCH_LATENT
    if box is None and not stretch_latent:
        picture = resize(picture, *size, init.resize_mode, upscaler)
    # Results of a stretched latent have the pass's size, so what is laid over them must have it too.
    under = resize(picture, *size, STRETCH, upscaler) if box is None and stretch_latent else picture
    overlay = None
    if mask is not None and options.overlay_inpaint:
        overlay = overlay_of(under, mask.cover.resize(under.size) if mask.cover.size != under.size else mask.cover)
    if box is not None:
        picture = resize(picture.crop(box), *size, FILL, upscaler)
    if mask is not None and init.inpaint is not None and init.inpaint.fill != 1:
        work = mask.own_latent or mask.work
        work = work if work.size == picture.size else resize(work, *picture.size)
        picture = fill_masked(picture, work)
    colors = None
    if options.img2img_color_correction:
        given = None if init.colors is None else open_picture(init.colors.data, field="init_images")
        colors = picture if given is None else flatten(given, options.img2img_background_color)
    return StartPicture(picture, under, overlay, colors, box)
