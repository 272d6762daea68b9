"""From a checkpoint on disk to one in memory."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from easel.models.checkpoint import LoadedCheckpoint
from easel.models.clip import ClipText
from easel.models.families import read_checkpoint
from easel.models.layout import read_layout
from easel.models.schedule import Prediction
from easel.models.text import TextEncoders
from easel.models.weights import load_part
from easel.prompt.tokenizer import ClipTokenizer

if TYPE_CHECKING:
    from easel.models.placement import Placement
    from easel.models.store import CheckpointInfo

log = logging.getLogger(__name__)
TOKENIZER = Path(__file__).parent.parent / "starter" / "tokenizer"  # CLIP's, which every family uses


def load_checkpoint(info: CheckpointInfo, placement: Placement) -> LoadedCheckpoint:
    """Load a checkpoint file or folder; RefusedFile for files that cannot be read, ModelError for what is missing."""
    layout = read_layout(info.path)
    family, blueprint = read_checkpoint(layout)
    unet: Any = load_part(blueprint.denoiser, layout, placement.device, placement.dtype)
    texts = tuple(
        cast(ClipText, load_part(part, layout, placement.device, placement.dtype)) for part in blueprint.encoders
    )
    prediction = blueprint.prediction or probe_prediction(unet)
    if placement.xformers:
        unet.enable_xformers_memory_efficient_attention()
    if placement.compiled:
        log.info("%s: the denoiser is compiled at the first pass of each kind of size", info.title)
        unet.compile()
    vae = load_part(blueprint.autoencoder, layout, placement.device, placement.vae_dtype)
    return LoadedCheckpoint(
        info=info,
        family=family,
        blueprint=blueprint,
        prediction=prediction,
        unet=unet,
        vae=vae,
        texts=TextEncoders(
            texts,
            blueprint.encoders,
            ClipTokenizer.from_folder(TOKENIZER),
            zero_empty_negative=blueprint.numbers is not None,
        ),
        placement=placement,
    )


def probe_prediction(unet: Any) -> Prediction:
    """Ask a UNet whether it predicts noise or velocity.

    At the last step the input is almost all noise, so a model that predicts noise answers with its input; one that
    predicts velocity answers with minus the picture. -1 lies well between the two for SD2's published checkpoints.
    """
    weight = next(unet.parameters())
    channels, width = unet.config["in_channels"], unet.config["cross_attention_dim"]
    x = torch.full((1, channels, 8, 8), 0.5, device=weight.device, dtype=weight.dtype)
    context = torch.full((1, 2, width), 0.5, device=weight.device, dtype=weight.dtype)
    with torch.inference_mode():
        output = unet(x, torch.tensor([999.0], device=weight.device), context, return_dict=False)[0]
    return "v" if (output - x).float().mean().item() < -1 else "eps"
