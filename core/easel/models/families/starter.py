"""Easel's own small model: a diffusers folder with a `card.json` and a deep-compression autoencoder."""

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


def read(layout: Layout) -> Blueprint | None:
    """The card is the mark. Latents by the card: per-channel statistics where it has them, else one scale."""
    model = measure(layout)
    if model is None or "card" not in layout.configs:
        return None
    card = layout.configs["card"]
    (text,) = need_texts(model, 1)
    return Blueprint(
        denoiser=unet_part(model, heads=None),
        autoencoder=vae_part(layout),
        encoders=(text_part(model, text, layer=int(text.sizes["layers"])),),
        latent=LatentFormat(
            channels=int(card["latent_channels"]),
            pixels=int(card["pixels_per_latent"]),
            scale=float(card.get("latent_scaling_factor", 1.0)),
            mean=tuple(card.get("latent_mean", ())),
            std=tuple(card.get("latent_std", ())),
        ),
        unet_names=model.unet.names(),
        prediction="v" if card.get("prediction_type") == "v_prediction" else "eps",
        zero_snr=model.zero_snr(),
    )


STARTER = Family(name="starter", read=read, pixels_per_latent=32)
