"""A guess at the picture from latents alone, for live previews that cost nothing."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from easel.models.checkpoint import LoadedCheckpoint


def rgb_weights(checkpoint: LoadedCheckpoint) -> Tensor:
    """(C + 1, 3): weights of the latent channels, and of a constant, that give RGB in -1…1.

    The family's own where it has some; else fitted by least squares to soft colour fields sent through the encoder
    (half a second; keep the result).
    """
    if checkpoint.latent.rgb:
        known = torch.tensor(checkpoint.latent.rgb)
        return torch.cat([known, torch.zeros(1, 3)])
    side = 8 * checkpoint.latent.pixels
    colours = torch.rand((6, 3, 4, 4), generator=torch.Generator().manual_seed(0)) * 2 - 1
    pixels = F.interpolate(colours, size=(side, side), mode="bicubic").clamp(-1, 1)
    latents = checkpoint.encode_pixels(pixels).cpu()
    wanted = F.adaptive_avg_pool2d(pixels, (latents.shape[2], latents.shape[3]))
    known = _with_constant(latents).flatten(0, 2)
    ridge = 1e-2 * len(known) * torch.eye(known.shape[1])  # channels that these fields leave alone stay small
    weights: Tensor = torch.linalg.solve(known.T @ known + ridge, known.T @ wanted.permute(0, 2, 3, 1).flatten(0, 2))
    return weights


def preview(latents: Tensor, weights: Tensor) -> Tensor:
    """Latents (N, C, h, w) → (N, h, w, 3) uint8."""
    rgb = _with_constant(latents.float().cpu()) @ weights
    return ((rgb + 1) * 127.5).clamp(0, 255).to(torch.uint8)


def _with_constant(latents: Tensor) -> Tensor:
    rows = latents.permute(0, 2, 3, 1)
    return torch.cat([rows, torch.ones_like(rows[..., :1])], dim=-1)
