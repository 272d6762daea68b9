"""Stable Diffusion 1.x: one CLIP text encoder, eight attention heads everywhere; inpainting and pix2pix too."""

from __future__ import annotations

from easel.models.families.family import (
    Blueprint,
    Family,
    LatentFormat,
    measure,
    need_texts,
    text_part,
    unet_part,
    vae_part,
)
from easel.models.layout import Layout

HEADS = 8
# A least-squares fit of pictures to latents that circulates among users of these models since 2022.
RGB = ((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473))


def read(layout: Layout) -> Blueprint | None:
    """No vector, convolutions around the UNet's transformers, and CLIP: its last state, normed."""
    model = measure(layout)
    if model is None or model.unet.vector is not None or model.unet.linear:
        return None
    (text,) = need_texts(model, 1)
    return Blueprint(
        denoiser=unet_part(model, heads=HEADS),
        autoencoder=vae_part(layout),
        encoders=(text_part(model, text, layer=int(text.sizes["layers"])),),
        latent=LatentFormat(rgb=RGB),
        unet_names=model.unet.names(),
        prediction=model.prediction() or "eps",
        zero_snr=model.zero_snr(),
        extra_channels=model.extra_channels,
    )


SD1 = Family(name="SD1", read=read)
