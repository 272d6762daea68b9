"""diffusers' UNet with the one habit of the original that shows in pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F


class Upsample(nn.Module):
    """Doubles the sides, convolves, and only then fits odd sides to the skip connection.

    diffusers enlarges to the odd size before it convolves; pictures whose latent sides the UNet cannot halve evenly
    would differ from A1111's.
    """

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, output_size: tuple[int, int] | None = None) -> Tensor:
        """(N, C, h, w) → (N, C, 2h, 2w), or `output_size` where that differs."""
        x = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        if output_size is None or tuple(x.shape[2:]) == tuple(output_size):
            return x
        return F.interpolate(x, size=tuple(output_size), mode="nearest")


def build_unet(config: Mapping[str, Any]) -> UNet2DConditionModel:
    """A UNet from diffusers' configuration."""
    unet = UNet2DConditionModel.from_config(dict(config))
    for block in unet.up_blocks:
        if block.upsamplers is not None:
            block.upsamplers = nn.ModuleList(Upsample(upsampler.conv) for upsampler in block.upsamplers)
    return unet
