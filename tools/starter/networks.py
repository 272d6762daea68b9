"""The denoiser and the text encoder, and how they are saved as a diffusers folder."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

TEXT_WIDTH = 192
TRAIN_STEPS = 1000


def build_unet(sample_size: int = 16) -> UNet2DConditionModel:
    """16-channel latents at 16x16; convolutions only at 16x16, attention at 8x8 and 4x4.

    The prompt comes in by cross-attention and, pooled, beside the timestep (``addition_embed_type="text"`` pools
    ``encoder_hidden_states``: callers pass nothing more than to any UNet), which teaches whole-picture content sooner.
    """
    unet = UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=16,
        out_channels=16,
        block_out_channels=(80, 128, 192),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        use_linear_projection=True,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=6,
    )
    torch.nn.init.zeros_(unet.conv_out.weight)
    return unet.to(memory_format=torch.channels_last)


def build_text_encoder(rows: int) -> CLIPTextModel:
    """A three-layer CLIP text encoder with ``rows`` embedding rows (all 49,408 of them only when it is saved)."""
    config = CLIPTextConfig(
        vocab_size=rows,
        hidden_size=TEXT_WIDTH,
        intermediate_size=8 * TEXT_WIDTH,  # where 943 pictures are kept
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=6,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    model = CLIPTextModel(config)
    # CLIP's own 0.02 drowns the words in what the layers add to every token: nothing then tells two subjects apart.
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.5)
    return model


def noise_levels() -> torch.Tensor:
    """alpha-bar [1000] of Stable Diffusion's scaled-linear betas."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()
