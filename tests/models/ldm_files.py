"""Random-weight checkpoints of any family in the original (LDM) format, small or full size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from easel.models.clip import ClipConfig, ClipText
from easel.models.families import autoencoder
from easel.models.families.family import rename
from easel.models.families.unet import UNetShape
from easel.models.unet import build_unet

Shapes = dict[str, tuple[int, ...]]
OPENCLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


@dataclass(frozen=True)
class Recipe:
    """What makes a checkpoint; `texts` are (prefix, config) with OpenCLIP names where the prefix ends in `model.`."""

    unet: UNetShape
    heads: int | None
    vae: dict[str, Any]
    texts: tuple[tuple[str, ClipConfig], ...]
    marks: Shapes = field(default_factory=dict)  # more tensors

    def shapes(self) -> Shapes:
        out = {f"model.diffusion_model.{name}": shape for name, shape in unet_shapes(self.unet, self.heads).items()}
        out |= {f"first_stage_model.{name}": shape for name, shape in vae_shapes(self.vae).items()}
        for prefix, config in self.texts:
            out |= {prefix + name: shape for name, shape in text_shapes(config, openclip="text_model" not in prefix)}
        return out | self.marks


def unet_shapes(shape: UNetShape, heads: int | None) -> Shapes:
    to_ldm = {new: old for old, new in shape.names().items()}
    with torch.device("meta"):
        state = build_unet(shape.config(heads=heads)).state_dict()
    return {str(rename(name, to_ldm)): tuple(tensor.shape) for name, tensor in state.items()}


def vae_shapes(config: dict[str, Any]) -> Shapes:
    from diffusers import AutoencoderKL

    names = autoencoder.names(config["block_out_channels"], config["layers_per_block"])
    to_ldm = {new: old for old, new in names.items()}
    with torch.device("meta"):
        state = AutoencoderKL(**config).state_dict()
    out: Shapes = {}
    for name, tensor in state.items():
        matrix = ".attentions." in name and tensor.dim() == 2
        out[str(rename(name, to_ldm))] = (*tensor.shape, 1, 1) if matrix else tuple(tensor.shape)
    return out


def text_shapes(config: ClipConfig, *, openclip: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    with torch.device("meta"):
        state = {name: tuple(tensor.shape) for name, tensor in ClipText(config).state_dict().items()}
    if not openclip:
        yield from state.items()
        return
    yield "positional_embedding", (config.positions, config.width)
    yield "token_embedding.weight", (config.tokens, config.width)
    for leaf in ("weight", "bias"):
        yield f"ln_final.{leaf}", (config.width,)
    if config.projection:
        yield "text_projection", (config.width, config.projection)
    for number in range(config.layers):
        block = f"transformer.resblocks.{number}"
        yield f"{block}.attn.in_proj_weight", (3 * config.width, config.width)
        yield f"{block}.attn.in_proj_bias", (3 * config.width,)
        for ours, theirs in OPENCLIP.items():
            for leaf in ("weight", "bias"):
                yield f"{block}.{theirs}.{leaf}", state[f"encoder.layers.{number}.{ours}.{leaf}"]


def write(path: Path, shapes: Mapping[str, tuple[int, ...]], *, seed: int = 0) -> Path:
    """Write float16 noise of about unit gain, one tensor after the other, so that any size fits in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(2**18).astype(np.float32)
    with path.open("wb") as file:
        file.write(header(shapes))
        for number, (name, shape) in enumerate(shapes.items()):
            count = prod(shape)
            block = noise[np.arange(number * 97, number * 97 + min(count, len(noise))) % len(noise)]
            block = (block * _gain(shape) + _offset(name, shape)).astype(np.float16)
            for start in range(0, count, len(block)):
                file.write(block[: count - start].tobytes())
    return path


def write_hole(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A file of the right size that takes no room."""
    start = header(shapes)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + 2 * sum(map(prod, shapes.values())))


def header(shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    entries, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 2 * prod(shape)
        entries[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


def _gain(shape: tuple[int, ...]) -> float:
    return 0.02 if len(shape) < 2 else float(1 / np.sqrt(prod(shape[1:])))


def _offset(name: str, shape: tuple[int, ...]) -> float:
    return 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0


VAE = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
CLIP_L = ClipConfig(width=64, layers=3, heads=4, inner=128)
OPEN_H = ClipConfig(width=128, layers=4, heads=4, inner=256, activation="gelu", projection=64)
OPEN_G = ClipConfig(width=128, layers=3, heads=4, inner=256, activation="gelu", projection=96)


def unet(**changes: Any) -> UNetShape:
    sizes: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": 4,
        "channels": (64, 128),
        "resnets": 1,
        "depths": (1, 1),
        "middle_depth": 1,
        "context": 64,
        "vector": None,
        "linear": False,
    }
    return UNetShape(**{**sizes, **changes})


HF, SDXL_L = "cond_stage_model.transformer.text_model.", "conditioner.embedders.0.transformer.text_model."
SD1 = Recipe(unet(), 8, VAE, ((HF, CLIP_L),))
SD1_INPAINT = Recipe(unet(in_channels=9), 8, VAE, ((HF, CLIP_L),))
SD1_EDIT = Recipe(unet(in_channels=8), 8, VAE, ((HF, CLIP_L),))
SD2 = Recipe(unet(context=128, linear=True), None, VAE, (("cond_stage_model.model.", OPEN_H),))
SDXL = Recipe(
    unet(depths=(0, 2), middle_depth=2, context=64 + 128, vector=96 + 6 * 256, linear=True),
    None,
    VAE,
    ((SDXL_L, CLIP_L), ("conditioner.embedders.1.model.", OPEN_G)),
)
REFINER = Recipe(
    unet(depths=(0, 2), middle_depth=2, context=128, vector=96 + 5 * 256, linear=True),
    None,
    VAE,
    (("conditioner.embedders.0.model.", OPEN_G),),
)
FULL_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
FULL_CLIP_L = ClipConfig(width=768, layers=12, heads=12, inner=3072)
FULL_SD15 = Recipe(
    unet(channels=(320, 640, 1280, 1280), resnets=2, depths=(1, 1, 1, 0), context=768),
    8,
    FULL_VAE,
    ((HF, FULL_CLIP_L),),
)
FULL_SDXL = Recipe(
    unet(
        channels=(320, 640, 1280),
        resnets=2,
        depths=(0, 2, 10),
        middle_depth=10,
        context=2048,
        vector=2816,
        linear=True,
    ),
    None,
    FULL_VAE,
    (
        (SDXL_L, FULL_CLIP_L),
        (
            "conditioner.embedders.1.model.",
            ClipConfig(width=1280, layers=32, heads=20, inner=5120, activation="gelu", projection=1280),
        ),
    ),
)
