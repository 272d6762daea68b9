"""Latents as they travel between the calls of an engine, and what is done to them outside the denoiser."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from easel.errors import BadRequest
from easel.values.conditioning import SoftBlend

RESIZE_MODES = ("bilinear", "bilinear-antialiased", "bicubic", "bicubic-antialiased", "nearest", "nearest-exact")


@dataclass(frozen=True, slots=True)
class LatentBatch:
    """The latents of a batch: one (1, C, h, w) float32 tensor per picture, on the engine's device.

    `checkpoint`: the one that denoised them last, whose autoencoder decodes them (a refiner brings its own); None: the
    one the caller names. `starts`: what a pass began with, where it began with pictures.
    """

    pictures: tuple[Tensor, ...]
    pixels_per_latent: int
    checkpoint: str | None = None
    starts: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)


def resize(latents: LatentBatch, mode: str, width: int, height: int) -> LatentBatch:
    """Interpolate to the grid of a picture of `width` x `height` pixels with one of `RESIZE_MODES`."""
    if mode not in RESIZE_MODES:
        raise BadRequest("unknown latent upscale mode", field="mode", value=mode, allowed=", ".join(RESIZE_MODES))
    size = (height // latents.pixels_per_latent, width // latents.pixels_per_latent)
    kind, antialias = mode.removesuffix("-antialiased"), mode.endswith("-antialiased")
    resized = (functional.interpolate(x, size=size, mode=kind, antialias=antialias) for x in latents.pictures)
    return replace(latents, pictures=tuple(resized), starts=())


def crop(latents: LatentBatch, left: int, top: int, right: int, bottom: int) -> LatentBatch:
    """Cut columns and rows (latent units) off the sides."""
    height, width = latents.pictures[0].shape[-2:]
    rows, columns = slice(top, height - bottom), slice(left, width - right)
    cut = tuple(x[..., rows, columns].contiguous() for x in latents.pictures)
    return replace(latents, pictures=cut, starts=())


@dataclass(frozen=True, slots=True)
class Blend:
    """Keeps what a mask protects. `repaint` (1, 1, h, w): 1 where the pass may paint; `kept`: start·(1 - repaint)."""

    repaint: Tensor
    kept: Tensor

    @classmethod
    def of(cls, repaint: Tensor, start: Tensor) -> Blend:
        """The blend of a mask with the (1, C, h, w) latents it protects."""
        return cls(repaint, start * (1.0 - repaint))

    def __call__(self, x: Tensor, at: float | None) -> Tensor:
        """`x` where the pass may paint, the start elsewhere; `at`: the sigma or timestep, None for the last time."""
        return torch.addcmul(self.kept, x, self.repaint)


@dataclass(frozen=True, slots=True)
class DegreeBlend:
    """Keeps by degrees what a mask half protects (`easel.values.conditioning.SoftBlend` says how)."""

    repaint: Tensor
    start: Tensor
    soft: SoftBlend

    def __call__(self, x: Tensor, at: float | None) -> Tensor:
        """A mix of the start and `x`, whose vectors get a length between those of both; the last `x` stays as it is.

        Lengths are mixed as powers, in double precision as these grow large.
        """
        if at is None:
            return x
        share = torch.pow(self.repaint, at**self.soft.bias * self.soft.preservation)
        mixed = self.start * (1.0 - share) + x * share
        power = self.soft.contrast
        lengths = (_lengths(self.start) ** power * (1.0 - share) + _lengths(x) ** power * share) ** (1.0 / power)
        return mixed * (lengths / (_lengths(mixed) + 1e-5)).to(mixed.dtype)


def _lengths(x: Tensor) -> Tensor:
    """(1, C, h, w) → (1, 1, h, w) float64."""
    lengths: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True).double()
    return lengths


def distances(latents: LatentBatch) -> list[Tensor]:
    """How far each vector lies from where it started; (h, w) each."""
    pairs = zip(latents.pictures, latents.starts, strict=True)
    return [torch.linalg.vector_norm(x - start, dim=1)[0] for x, start in pairs]


def is_finite(x: Tensor) -> bool:
    """Neither NaN nor infinite anywhere (waits for the device)."""
    return bool(torch.isfinite(x).all())
