"""ControlNets: networks beside the UNet that read a map and add to its skip connections (arXiv:2302.05543)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from easel.errors import RefusedFile
from easel.models.checkpoint import Residuals
from easel.models.families.family import Part, renamed_sources
from easel.models.families.unet import UNetShape, shape_from_config, shape_from_diffusers, shape_from_ldm
from easel.models.layout import Layout, read_net
from easel.models.weights import load_part

if TYPE_CHECKING:
    from easel.models.placement import Placement

LDM_PREFIXES = ("control_model.", "")


@dataclass(slots=True, eq=False)
class ControlNet:
    """One loaded ControlNet. `net` is diffusers' ControlNetModel without its hint encoder, which runs once a pass."""

    net: Any
    hint_encoder: nn.Module
    placement: Placement

    @property
    def byte_size(self) -> int:
        """Bytes of all weights."""
        return sum(tensor.nbytes for part in (self.net, self.hint_encoder) for tensor in part.state_dict().values())

    @torch.inference_mode()
    def encode_hint(self, hint: Tensor) -> Tensor:
        """A map (N, 3, H, W) in 0…1 → what `residuals` takes; the same for all steps of a pass."""
        place = self.placement
        encoded: Tensor = self.hint_encoder(hint.to(place.device, place.dtype, memory_format=torch.channels_last))
        return encoded

    @torch.inference_mode()
    def residuals(
        self, x: Tensor, timesteps: Tensor, context: Tensor, hint: Tensor, vector: Tensor | None = None
    ) -> Residuals:
        """What to add to the UNet, at weight 1; arguments as LoadedCheckpoint.predict, `hint` from `encode_hint`."""
        place = self.placement
        down, middle = self.net(
            x.to(place.device, place.dtype, memory_format=torch.channels_last),
            timesteps.to(place.device),
            encoder_hidden_states=context.to(place.device, place.dtype),
            controlnet_cond=hint,
            class_labels=None if vector is None else vector.to(place.device, place.dtype),
            return_dict=False,
        )
        return Residuals(tuple(down), middle)


def scale(residuals: Residuals, weights: Sequence[float]) -> Residuals:
    """Each residual times its weight: those on the way down first, the middle one last."""
    *down, middle = weights
    pairs = zip(residuals.down, down, strict=True)
    return Residuals(tuple(tensor * weight for tensor, weight in pairs), residuals.middle * middle)


def add(first: Residuals, second: Residuals) -> Residuals:
    """Two ControlNets at once."""
    down = tuple(one + other for one, other in zip(first.down, second.down, strict=True))
    return Residuals(down, first.middle + second.middle)


def load_controlnet(path: Path, placement: Placement) -> ControlNet:
    """Load a ControlNet file with LDM or diffusers names, or a diffusers folder; RefusedFile, also for another kind."""
    layout = read_net(path)
    net = load_part(_part(layout), layout, placement.device, placement.dtype)
    encoder = net.controlnet_cond_embedding
    assert isinstance(encoder, nn.Module)
    net.controlnet_cond_embedding = nn.Identity()
    return ControlNet(net, encoder, placement)


def _part(layout: Layout) -> Part:
    config = layout.own_config if layout.own_config.get("_class_name") == "ControlNetModel" else None
    for prefix in LDM_PREFIXES:
        if f"{prefix}input_hint_block.0.weight" in layout.tensors:
            here = layout.below(prefix)
            shape = shape_from_config(config, layout.label) if config else shape_from_ldm(here)
            sources = renamed_sources(layout, prefix, shape.names() | _ldm_names(here))
            if config:
                return Part(build=partial(_build_from_config, config), sources=sources)
            return Part(build=partial(_build, shape, _hint_channels(layout, sources)), sources=sources)
    if config:
        return Part(build=partial(_build_from_config, config), sources={name: (name, "") for name in layout.tensors})
    if "net" in layout.configs:
        config = dict(layout.configs["net"])
        if config.get("addition_embed_type") == "text_time":  # SDXL: the whole vector comes from us
            config |= {"addition_embed_type": None, "class_embed_type": "projection"}
        return Part(build=partial(_from_config, config), sources=_with_class_embedding(layout))
    if "controlnet_cond_embedding.conv_in.weight" in layout.tensors:
        shape = shape_from_diffusers(layout)
        sources = _with_class_embedding(layout)
        return Part(build=partial(_build, shape, _hint_channels(layout, sources)), sources=sources)
    raise RefusedFile(f"{layout.label}: not a ControlNet that Easel knows")


def _with_class_embedding(layout: Layout) -> dict[str, tuple[str, str]]:
    """Every tensor under its own name, but for SDXL's vector."""
    whole = layout.configs.get("net", {}).get("addition_embed_type", "text_time") == "text_time"
    return {
        name.replace("add_embedding.", "class_embedding.") if whole else name: (name, "") for name in layout.tensors
    }


def _ldm_names(here: Layout) -> dict[str, str]:
    """The names of what a ControlNet has beyond half a UNet."""
    numbers = sorted(
        int(name.split(".")[1]) for name in here.tensors if name.startswith("input_hint_block.") and "weight" in name
    )
    hint = "controlnet_cond_embedding"
    table = {f"input_hint_block.{numbers[0]}": f"{hint}.conv_in", f"input_hint_block.{numbers[-1]}": f"{hint}.conv_out"}
    table |= {f"input_hint_block.{number}": f"{hint}.blocks.{i}" for i, number in enumerate(numbers[1:-1])}
    zeros = {name.split(".")[1] for name in here.tensors if name.startswith("zero_convs.")}
    table |= {f"zero_convs.{number}.0": f"controlnet_down_blocks.{number}" for number in zeros}
    return table | {"middle_block_out.0": "controlnet_mid_block", "add_embedding": "add_embedding"}


def _hint_channels(layout: Layout, sources: Mapping[str, tuple[str, str]]) -> tuple[int, ...]:
    """Channels of the hint encoder's levels: the first convolution and every second block."""
    channels = [layout.shape(sources["controlnet_cond_embedding.conv_in.weight"][0])[0]]
    while source := sources.get(f"controlnet_cond_embedding.blocks.{2 * len(channels) - 1}.weight"):
        channels.append(layout.shape(source[0])[0])
    return tuple(channels)


def _from_config(config: Mapping[str, Any]) -> nn.Module:
    from diffusers.models.controlnets.controlnet import ControlNetModel

    net: nn.Module = ControlNetModel.from_config(dict(config))
    return net


def _build_from_config(config: Mapping[str, Any]) -> nn.Module:
    from diffusers.models.controlnets.controlnet import ControlNetModel

    net: nn.Module = ControlNetModel.from_config(dict(config))
    return net


def _build(shape: UNetShape, hint_channels: tuple[int, ...]) -> nn.Module:
    from diffusers.models.controlnets.controlnet import ControlNetModel

    config = shape.config(heads=None if shape.linear else 8)
    for unknown in ("out_channels", "up_block_types"):
        del config[unknown]
    net: nn.Module = ControlNetModel(**config, conditioning_embedding_out_channels=hint_channels)
    return net
