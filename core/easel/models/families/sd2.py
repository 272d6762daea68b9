"""Stable Diffusion 2.x: an OpenCLIP text encoder, attention heads of 64 channels, noise or velocity prediction."""

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
from easel.models.families.sd1 import RGB
from easel.models.layout import Layout


def read(layout: Layout) -> Blueprint | None:
    """No vector, and linear projections around the UNet's transformers. The penultimate text state, normed.

    Single files carry the unused last text layer, diffusers folders have cut it off. Files do not say whether they
    predict noise or velocity unless a `.yaml` lies beside them; None leaves the answer to a look at the loaded model
    (`loading.probe_prediction`).
    """
    model = measure(layout)
    if model is None or model.unet.vector is not None or not model.unet.linear:
        return None
    (text,) = need_texts(model, 1)
    layers = int(text.sizes["layers"])
    layer = layers if model.is_folder else layers - 1
    return Blueprint(
        denoiser=unet_part(model, heads=None),
        autoencoder=vae_part(layout),
        encoders=(text_part(model, text, layer=layer, skip="no", pad=0, embedding_key="clip_h"),),
        latent=LatentFormat(rgb=RGB),
        unet_names=model.unet.names(),
        prediction=model.prediction() or ("eps" if model.extra_channels else None),
        zero_snr=model.zero_snr(),
        extra_channels=model.extra_channels,
    )


SD2 = Family(name="SD2", read=read)
