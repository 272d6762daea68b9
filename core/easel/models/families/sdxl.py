"""Stable Diffusion XL: two text encoders and a vector of pooled text and sizes; its refiner, with the second alone."""

from __future__ import annotations

from collections.abc import Callable

from easel.models.families.family import (
    Blueprint,
    Checkpoint,
    Family,
    LatentFormat,
    PictureSize,
    TextPart,
    measure,
    need_texts,
    text_part,
    unet_part,
    vae_part,
)
from easel.models.families.text_encoder import TextShape
from easel.models.layout import Layout

LATENT = LatentFormat(
    scale=0.13025,
    rgb=((0.3448, 0.4168, 0.4395), (-0.1953, -0.0290, 0.0250), (0.1074, 0.0886, -0.0163), (-0.3730, -0.2499, -0.2088)),
)


def read(layout: Layout) -> Blueprint | None:
    """A vector of pooled text and six numbers; the last text states but one side by side, not normed."""
    model = measure(layout)
    if model is None or model.unet.vector is None or _is_refiner(model):
        return None
    first, second = need_texts(model, 2)
    small = text_part(model, first, layer=int(first.sizes["layers"]) - 1, normed=False, skip="sdxl")
    return _blueprint(model, (small, _big(model, second)), base_numbers)


def read_refiner(layout: Layout) -> Blueprint | None:
    """Five numbers instead of six, the second text encoder alone."""
    model = measure(layout)
    if model is None or not _is_refiner(model):
        return None
    (text,) = need_texts(model, 1)
    return _blueprint(model, (_big(model, text),), refiner_numbers)


def base_numbers(size: PictureSize) -> tuple[float, ...]:
    """Original size, crop, target size."""
    return (size.height, size.width, size.crop_top, size.crop_left, size.height, size.width)


def refiner_numbers(size: PictureSize) -> tuple[float, ...]:
    """Original size, crop, aesthetic score."""
    return (size.height, size.width, size.crop_top, size.crop_left, size.aesthetic_score)


def _is_refiner(model: Checkpoint) -> bool:
    if model.unet.vector is None:
        return False
    return len(model.texts) == 1 if model.texts else model.unet.context == 1280


def _big(model: Checkpoint, text: TextShape) -> TextPart:
    layer = int(text.sizes["layers"]) - 1
    return text_part(model, text, layer=layer, normed=False, skip="no", pooled=True, pad=0, embedding_key="clip_g")


def _blueprint(
    model: Checkpoint, encoders: tuple[TextPart, ...], numbers: Callable[[PictureSize], tuple[float, ...]]
) -> Blueprint:
    return Blueprint(
        denoiser=unet_part(model, heads=None),
        autoencoder=vae_part(model.layout),
        encoders=encoders,
        latent=LATENT,
        unet_names=model.unet.names(),
        prediction=model.prediction() or "eps",
        zero_snr=model.zero_snr(),
        extra_channels=model.extra_channels,
        numbers=numbers,
    )


SDXL = Family(name="SDXL", read=read, native_size=(1024, 1024))
SDXL_REFINER = Family(name="SDXL refiner", read=read_refiner, native_size=(1024, 1024))
