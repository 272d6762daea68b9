"""The picture of a unit: from texts in the request, or the picture that img2img starts from, to pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from easel import BadRequest, Conditioning, GenerationRequest, open_picture, resize

if TYPE_CHECKING:
    from collections.abc import Callable

    from .preprocessors import Preprocessor
    from .units import Unit

Pixels = NDArray[np.uint8]
RESIZE_MODES = ("Just Resize", "Crop and Resize", "Resize and Fill", "Just Resize")  # img2img's, by number
_EMPTY, _FULL = 5, 250  # a mask below or above this everywhere means nothing
_FILL = 2


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What a preprocessor gets: `pixels` (H, W, 3), the `mask` (H, W) of an inpainting unit, how to fit it."""

    pixels: Pixels
    mask: Pixels | None
    resize_mode: str

    @property
    def layers(self) -> Pixels:
        """(H, W, 3), or (H, W, 4) with the mask."""
        return self.pixels if self.mask is None else np.dstack([self.pixels, self.mask])


def decoded(data: bytes, *, field: str, max_pixels: int) -> Pixels:
    """(H, W, 3) of a picture file, transparent parts white. Errors: BadImage, TooLarge."""
    picture = open_picture(data, field=field, max_pixels=max_pixels)
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return np.asarray(picture.convert("RGB"))
    layers = np.asarray(picture.convert("RGBA")).astype(np.float32)
    alpha = layers[..., 3:] / 255.0
    return np.asarray((layers[..., :3] * alpha + 255.0 * (1.0 - alpha)).clip(0, 255), dtype=np.uint8)


def from_unit(
    unit: Unit, preprocessor: Preprocessor, read: Callable[[object, str], Pixels], field: str, *, ignore_mask: bool
) -> Source | None:
    """The unit's own picture, None when it has none. Errors: BadImage, BadRequest."""
    try:
        pairs = unit.pictures()
    except ValueError as error:
        allowed = "base64, a data URI, a URL, {image, mask}, [image, mask], [{image, mask}, …]"
        raise BadRequest(str(error), field=f"{field}.image", value=unit.image, allowed=allowed) from None
    if not pairs:
        return None
    (picture, mask_text), *more = pairs
    if more:
        raise BadRequest(
            "one picture for a unit; with input_mode merge each becomes a unit of its own",
            field=f"{field}.image", value=len(pairs), allowed="1",
        )  # fmt: skip
    pixels = read(picture, f"{field}.image")
    mask = None if mask_text is None else read(mask_text, f"{field}.mask")[..., 0]
    if mask is not None and mask.shape != pixels.shape[:2]:
        sizes = "{1}x{0}".format(*mask.shape), "{1}x{0}".format(*pixels.shape)
        raise BadRequest("another size than the picture's", field=f"{field}.mask", value=sizes[0], allowed=sizes[1])
    if preprocessor.inpaints:
        return Source(pixels, np.zeros(pixels.shape[:2], np.uint8) if mask is None else mask, unit.resize_mode)
    if mask is None or ignore_mask or (mask <= _EMPTY).all() or (mask >= _FULL).all():
        return Source(pixels, None, unit.resize_mode)
    return Source(np.repeat(mask[..., None], 3, axis=2), None, unit.resize_mode)  # what was scribbled on the picture


def from_start(request: GenerationRequest, preprocessor: Preprocessor, max_pixels: int) -> Source | None:
    """The picture that img2img starts from, None in txt2img. Errors: BadImage, BadRequest."""
    init = request.init
    if init is None:
        return None
    pixels = decoded(init.pictures[0].data, field="init_images[0]", max_pixels=max_pixels)
    source = Source(pixels, None, RESIZE_MODES[init.resize_mode])
    if not preprocessor.inpaints:
        return source
    if init.inpaint is None:
        return replace(source, mask=np.zeros(pixels.shape[:2], np.uint8))
    picture = open_picture(init.inpaint.mask.data, field="mask", max_pixels=max_pixels).convert("L")
    mask: Pixels = np.asarray(picture)
    if mask.shape != pixels.shape[:2]:
        raise BadRequest("another size than the start picture's", field="mask", value=picture.size)
    if init.inpaint.invert:
        mask = 255 - mask
    for blur, kernel in ((init.inpaint.blur_x, (1, 0)), (init.inpaint.blur_y, (0, 1))):
        if blur > 0:
            reach = 2 * int(2.5 * blur + 0.5)
            size = (reach * kernel[0] + 1, reach * kernel[1] + 1)
            mask = np.asarray(cv2.GaussianBlur(mask, size, blur), dtype=np.uint8)
    return replace(source, mask=mask)


def cropped(source: Source, conditioning: Conditioning) -> Source:
    """What a pass over the masked part sees of a picture."""
    crop = conditioning.crop
    if crop is None:
        return source
    mode = RESIZE_MODES.index(source.resize_mode)

    def part(layer: Pixels) -> Pixels:
        whole = resize(Pillow.fromarray(layer), *crop.size, mode)
        return np.asarray(resize(whole.crop(crop.box), conditioning.width, conditioning.height, _FILL))

    layers = [part(np.ascontiguousarray(source.layers[..., n])) for n in range(source.layers.shape[2])]
    return Source(np.dstack(layers[:3]), layers[3] if len(layers) == 4 else None, source.resize_mode)
