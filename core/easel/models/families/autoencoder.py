"""The autoencoder (VAE) of Stable Diffusion: sizes from tensor shapes, LDM names → diffusers names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from easel.models.layout import Layout

ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0", "group_norm": "group_norm"}
RESNET = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "nin_shortcut": "conv_shortcut"}


def is_ldm(vae: Layout) -> bool:
    """An autoencoder with LDM names (prefix already cut)."""
    return "encoder.down.0.block.0.conv1.weight" in vae.tensors


def is_diffusers(vae: Layout) -> bool:
    """An autoencoder with diffusers' names."""
    return "encoder.down_blocks.0.resnets.0.conv1.weight" in vae.tensors


def config_from_tensors(vae: Layout) -> dict[str, Any]:
    """Arguments for diffusers' AutoencoderKL, read from tensors with names of either kind."""
    block = "encoder.down.{}.block.{}.conv1.weight" if is_ldm(vae) else "encoder.down_blocks.{}.resnets.{}.conv1.weight"
    channels: list[int] = []
    while block.format(len(channels), 0) in vae.tensors:
        channels.append(vae.shape(block.format(len(channels), 0))[0])
    blocks = 1
    while block.format(0, blocks) in vae.tensors:
        blocks += 1
    quantised = "quant_conv.weight" in vae.tensors
    return {
        "block_out_channels": tuple(channels),
        "layers_per_block": blocks,
        "latent_channels": vae.shape("decoder.conv_in.weight")[1],
        "in_channels": vae.shape("encoder.conv_in.weight")[1],
        "out_channels": vae.shape("decoder.conv_out.weight")[0],
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "use_quant_conv": quantised,
        "use_post_quant_conv": quantised,
        "sample_size": 512,
    }


def names(channels: Sequence[int], blocks: int) -> dict[str, str]:
    """LDM module name → diffusers module name; `channels` has one entry per level."""
    levels = len(channels)
    table = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for side in ("encoder", "decoder"):
        for old, new in {"conv_in": "conv_in", "conv_out": "conv_out", "norm_out": "conv_norm_out"}.items():
            table[f"{side}.{old}"] = f"{side}.{new}"
        table |= _resnet(f"{side}.mid.block_1", f"{side}.mid_block.resnets.0")
        table |= _resnet(f"{side}.mid.block_2", f"{side}.mid_block.resnets.1")
        for old, new in ATTENTION.items():
            table[f"{side}.mid.attn_1.{old}"] = f"{side}.mid_block.attentions.0.{new}"
    for level in range(levels):
        for block in range(blocks):
            table |= _resnet(f"encoder.down.{level}.block.{block}", f"encoder.down_blocks.{level}.resnets.{block}")
        table[f"encoder.down.{level}.downsample.conv"] = f"encoder.down_blocks.{level}.downsamplers.0.conv"
        mirrored = levels - 1 - level  # LDM counts the way up from the top
        for block in range(blocks + 1):
            table |= _resnet(f"decoder.up.{level}.block.{block}", f"decoder.up_blocks.{mirrored}.resnets.{block}")
        table[f"decoder.up.{level}.upsample.conv"] = f"decoder.up_blocks.{mirrored}.upsamplers.0.conv"
    return table


def renamed(name: str) -> str:
    """A diffusers tensor name of any age in today's spelling (the middle attention was renamed once)."""
    head, found, tail = name.partition("mid_block.attentions.0.")
    module, _, leaf = tail.rpartition(".")
    return f"{head}{found}{OLD_ATTENTION.get(module, module)}.{leaf}" if found else name


def _resnet(old: str, new: str) -> dict[str, str]:
    return {f"{old}.{inner}": f"{new}.{outer}" for inner, outer in RESNET.items()}
