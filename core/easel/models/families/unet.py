"""The UNet of Stable Diffusion: its sizes read from tensor shapes, and its module names in both worlds.

The original (LDM) files number blocks through; diffusers groups them by level. One table of names serves loading,
LoRA files and ControlNets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from easel.errors import ModelError
from easel.models.layout import Layout

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetShape:
    """The sizes that tell one UNet from another; `channels` and `depths` have one entry per level."""

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    resnets: int  # residual blocks a level on the way down; one more on the way up
    depths: tuple[int, ...]  # transformer layers a block; 0: no attention at this level
    middle_depth: int
    context: int  # width of the text states
    vector: int | None  # width of the SDXL vector
    linear: bool  # the transformers' projections are linear layers, not 1x1 convolutions

    def config(self, *, heads: int | None) -> dict[str, Any]:
        """Arguments for diffusers' UNet2DConditionModel; `heads` None: heads of 64 channels."""
        cross = [bool(depth) for depth in self.depths]
        down = ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in cross]
        up = ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(cross)]
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "block_out_channels": self.channels,
            "layers_per_block": self.resnets,
            "down_block_types": tuple(down),
            "up_block_types": tuple(up),
            "transformer_layers_per_block": tuple(depth or self.middle_depth for depth in self.depths),
            "cross_attention_dim": self.context,
            # diffusers calls the number of heads "attention_head_dim"
            "attention_head_dim": heads if heads is not None else tuple(side // 64 for side in self.channels),
            "use_linear_projection": self.linear,
            "class_embed_type": None if self.vector is None else "projection",
            "projection_class_embeddings_input_dim": self.vector,
        }

    def names(self) -> dict[str, str]:
        """LDM module name → diffusers module name, for every module with weights (attention blocks as a whole)."""
        table = {
            "time_embed.0": "time_embedding.linear_1",
            "time_embed.2": "time_embedding.linear_2",
            "label_emb.0.0": "class_embedding.linear_1",
            "label_emb.0.2": "class_embedding.linear_2",
            "input_blocks.0.0": "conv_in",
            "out.0": "conv_norm_out",
            "out.2": "conv_out",
            "middle_block.1": "mid_block.attentions.0",
        }
        table |= _resnet("middle_block.0", "mid_block.resnets.0") | _resnet("middle_block.2", "mid_block.resnets.1")
        for old, new, is_resnet in (*self._down_blocks(), *self._up_blocks()):
            table |= _resnet(old, new) if is_resnet else {old: new}
        return table

    def _down_blocks(self) -> Iterator[tuple[str, str, bool]]:
        number = 1
        for level, depth in enumerate(self.depths):
            for block in range(self.resnets):
                yield f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{block}", True
                if depth:
                    yield f"input_blocks.{number}.1", f"down_blocks.{level}.attentions.{block}", False
                number += 1
            if level < len(self.depths) - 1:
                yield f"input_blocks.{number}.0.op", f"down_blocks.{level}.downsamplers.0.conv", False
                number += 1

    def _up_blocks(self) -> Iterator[tuple[str, str, bool]]:
        number = 0
        for level, depth in enumerate(reversed(self.depths)):
            for block in range(self.resnets + 1):
                yield f"output_blocks.{number}.0", f"up_blocks.{level}.resnets.{block}", True
                if depth:
                    yield f"output_blocks.{number}.1", f"up_blocks.{level}.attentions.{block}", False
                if block == self.resnets and level < len(self.depths) - 1:
                    place = 2 if depth else 1
                    yield f"output_blocks.{number}.{place}.conv", f"up_blocks.{level}.upsamplers.0.conv", False
                number += 1


def shape_from_ldm(unet: Layout) -> UNetShape:
    """Read the sizes from an LDM UNet's tensors (names without prefix); ModelError for shapes no family has."""
    out, inputs = unet.shape("input_blocks.0.0.weight")[:2]
    channels: list[int] = []
    depths: list[list[int]] = []
    number, fresh = 1, True
    while f"input_blocks.{number}.0.in_layers.2.weight" in unet.tensors or _is_down(unet, number):
        if _is_down(unet, number):
            fresh = True
        else:
            if fresh:
                channels.append(0)
                depths.append([])
                fresh = False
            channels[-1] = unet.shape(f"input_blocks.{number}.0.in_layers.2.weight")[0]
            depths[-1].append(_depth(unet, f"input_blocks.{number}.1"))
        number += 1
    middle = _depth(unet, "middle_block.1")
    blocks = {len(level) for level in depths}
    if not channels or not middle or len(blocks) != 1 or any(len(set(level)) != 1 for level in depths):
        raise ModelError(f"{unet.label}: a UNet of a form Easel does not know (a distilled model?)")
    vector = unet.tensors.get("label_emb.0.0.weight")
    return UNetShape(
        in_channels=inputs,
        out_channels=unet.shape("out.2.weight")[0] if "out.2.weight" in unet.tensors else out,
        channels=tuple(channels),
        resnets=blocks.pop(),
        depths=tuple(level[0] for level in depths),
        middle_depth=middle,
        context=unet.shape("middle_block.1.transformer_blocks.0.attn2.to_k.weight")[1],
        vector=vector.shape[1] if vector else None,
        linear=len(unet.shape("middle_block.1.proj_in.weight")) == 2,
    )


def shape_from_diffusers(unet: Layout) -> UNetShape:
    """The same from tensors with diffusers' names, for files without a configuration."""
    levels = _count(unet, "down_blocks.{}.resnets.0.conv1.weight")
    resnets = _count(unet, "down_blocks.0.resnets.{}.conv1.weight")
    middle = _depth(unet, "mid_block.attentions.0")
    if not levels or not middle:
        raise ModelError(f"{unet.label}: a UNet of a form Easel does not know")
    out, inputs = unet.shape("conv_in.weight")[:2]
    vector = unet.tensors.get("add_embedding.linear_1.weight") or unet.tensors.get("class_embedding.linear_1.weight")
    return UNetShape(
        in_channels=inputs,
        out_channels=unet.shape("conv_out.weight")[0] if "conv_out.weight" in unet.tensors else out,
        channels=tuple(unet.shape(f"down_blocks.{level}.resnets.0.conv1.weight")[0] for level in range(levels)),
        resnets=resnets,
        depths=tuple(_depth(unet, f"down_blocks.{level}.attentions.0") for level in range(levels)),
        middle_depth=middle,
        context=unet.shape("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight")[1],
        vector=vector.shape[1] if vector else None,
        linear=len(unet.shape("mid_block.attentions.0.proj_in.weight")) == 2,
    )


def shape_from_config(config: Mapping[str, Any], label: str) -> UNetShape:
    """The same from a diffusers configuration; ModelError for what the names table cannot describe."""
    channels = tuple(int(side) for side in config["block_out_channels"])
    depth = config.get("transformer_layers_per_block", 1)
    depths = tuple(depth) if isinstance(depth, (list, tuple)) else (depth,) * len(channels)
    context, resnets = config.get("cross_attention_dim", 1280), config.get("layers_per_block", 2)
    kinds = config.get("down_block_types", ())
    known = {"CrossAttnDownBlock2D", "DownBlock2D"}
    whole = all(isinstance(value, int) for value in (context, resnets, *depths))
    if not whole or not set(kinds) <= known or len(kinds) != len(channels) or not config.get("mid_block_type", True):
        raise ModelError(f"{label}: a UNet of a form Easel does not know")
    vector = config.get("projection_class_embeddings_input_dim")
    return UNetShape(
        in_channels=int(config.get("in_channels", 4)),
        out_channels=int(config.get("out_channels", 4)),
        channels=channels,
        resnets=int(resnets),
        depths=tuple(int(deep) if "Cross" in kind else 0 for deep, kind in zip(depths, kinds, strict=True)),
        middle_depth=int(depths[-1]),
        context=int(context),
        vector=None if vector is None else int(vector),
        linear=bool(config.get("use_linear_projection", False)),
    )


def _resnet(old: str, new: str) -> dict[str, str]:
    return {f"{old}.{inner}": f"{new}.{renamed}" for inner, renamed in RESNET.items()}


def _is_down(unet: Layout, number: int) -> bool:
    return f"input_blocks.{number}.0.op.weight" in unet.tensors


def _depth(unet: Layout, block: str) -> int:
    return _count(unet, block + ".transformer_blocks.{}.attn2.to_k.weight")


def _count(unet: Layout, name: str) -> int:
    count = 0
    while name.format(count) in unet.tensors:
        count += 1
    return count
