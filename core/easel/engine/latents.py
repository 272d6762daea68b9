"""Latents as they travel between the calls of an engine, and what is done to them outside the denoiser."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from easel.errors import BadRequest

RESIZE_MODES = ("bilinear", "bilinear-antialiased", "bicubic", "bicubic-antialiased", "nearest", "nearest-exact")


@dataclass(frozen=True, slots=True)
class LatentBatch:
    """The latents of a batch: one (1, C, h, w) float32 tensor per picture, on the engine's device.

    `checkpoint`: the one that denoised them last, whose autoencoder decodes them (a refiner brings its own); None: the
    one the caller names.
    """

    pictures: tuple[Tensor, ...]
    pixels_per_latent: int
    checkpoint: str | None = None

    def __len__(self) -> int:
        return len(self.pictures)


def resize(latents: LatentBatch, mode: str, width: int, height: int) -> LatentBatch:
    """Interpolate to the grid of a picture of `width` x `height` pixels with one of `RESIZE_MODES`."""
    if mode not in RESIZE_MODES:
        raise BadRequest("unknown latent upscale mode", field="mode", value=mode, allowed=", ".join(RESIZE_MODES))
    size = (height // latents.pixels_per_latent, width // latents.pixels_per_latent)
    kind, antialias = mode.removesuffix("-antialiased"), mode.endswith("-antialiased")
    resized = (functional.interpolate(x, size=size, mode=kind, antialias=antialias) for x in latents.pictures)
    return replace(latents, pictures=tuple(resized))


def crop(latents: LatentBatch, left: int, top: int, right: int, bottom: int) -> LatentBatch:
    """Cut columns and rows (latent units) off the sides."""
    height, width = latents.pictures[0].shape[-2:]
    rows, columns = slice(top, height - bottom), slice(left, width - right)
    return replace(latents, pictures=tuple(x[..., rows, columns].contiguous() for x in latents.pictures))


@dataclass(frozen=True, slots=True)
class Blend:
    """Keeps what a mask protects. `repaint` (1, 1, h, w): 1 where the pass may paint; `kept`: start·(1 - repaint)."""

    repaint: Tensor
    kept: Tensor

    @classmethod
    def of(cls, repaint: Tensor, start: Tensor) -> Blend:
        """The blend of a mask with the (1, C, h, w) latents it protects."""
        return cls(repaint, start * (1.0 - repaint))

    def __call__(self, x: Tensor) -> Tensor:
        """`x` where the pass may paint, the start elsewhere."""
        return torch.addcmul(self.kept, x, self.repaint)


def is_finite(x: Tensor) -> bool:
    """Neither NaN nor infinite anywhere (waits for the device)."""
    return bool(torch.isfinite(x).all())
