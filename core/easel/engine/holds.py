"""Pictures that every step is held to: a part that is kept, or the colours (inpaint only, tile colorfix).

The denoiser's output says what it takes for the clean picture; that is mended, and the output said anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from easel.models.checkpoint import LoadedCheckpoint
    from easel.models.schedule import Prediction
    from easel.values.conditioning import Hold


@dataclass(frozen=True, slots=True)
class PictureHold:
    """A hold with its picture as (1, C, h, w) latents; `repaint` (1, 1, h, w) is its mask on the latent grid."""

    hold: Hold
    latent: Tensor
    repaint: Tensor | None
    alphas: Tensor
    prediction: Prediction

    @classmethod
    def of(cls, hold: Hold, latent: Tensor, mask: Tensor | None, model: LoadedCheckpoint) -> PictureHold:
        """A hold with the latents of its picture and its (1, 1, H, W) mask.

        A latent cell is to be painted where anything in it, or a pixel around it, is.
        """
        side = model.latent.pixels
        repaint = None if mask is None else functional.max_pool2d(mask, side + 2, stride=side, padding=1)
        return cls(hold, latent, repaint, model.alphas_cumprod, model.prediction)

    def __call__(self, output: Tensor, x: Tensor, timestep: float, *, negative: bool) -> Tensor:
        """The model's output at `x`, (1, C, h, w) on the model's scale, mended."""
        alpha = float(self.alphas[round(timestep)])
        signal, noise = sqrt(alpha), sqrt(1.0 - alpha)
        eps = self.prediction == "eps"
        clean = (x - noise * output) / signal if eps else signal * x - noise * output
        mended = self._mended(clean, negative)
        said = (x - signal * mended) / noise if eps else (signal * x - mended) / noise
        return torch.lerp(output, said, min(1.0, self.hold.weight))

    def _mended(self, clean: Tensor, negative: bool) -> Tensor:
        if self.repaint is not None:
            return torch.lerp(self.latent, clean, self.repaint)
        mended = clean - _blurred(clean, self.hold.radius) + _blurred(self.latent, self.hold.radius)
        if negative and self.hold.softened:
            return torch.lerp(mended, _blurred(mended, self.hold.radius), self.hold.softened)
        return mended


def _blurred(x: Tensor, radius: int) -> Tensor:
    side = 2 * radius + 1
    padded = functional.pad(x, (radius,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, side, stride=1)
