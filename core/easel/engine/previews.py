"""Cheap pictures of unfinished latents: each latent cell becomes one pixel by a linear map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from easel.engine.latents import LatentBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from easel.models.checkpoint import LoadedCheckpoint


def cheap(latents: LatentBatch, colours: Tensor) -> list[NDArray[np.uint8]]:
    """(h, w, 3) pictures; `colours` (C + 1, 3) maps a cell's channels and a constant 1 to RGB in -1…1."""
    return [to_bytes(_with_one(x) @ colours) for x in latents.pictures]


def to_bytes(rgb: Tensor) -> NDArray[np.uint8]:
    """(H, W, 3) in -1…1 → uint8; cut off, not rounded, as A1111 does."""
    return ((rgb + 1.0) * 127.5).clamp_(0.0, 255.0).to(torch.uint8).cpu().numpy()


def colours_of(model: LoadedCheckpoint) -> Tensor:
    """The map for a checkpoint: its family's, or else fitted to what its autoencoder makes of a few smooth latents."""
    if model.latent.rgb:
        known = torch.tensor(model.latent.rgb)
        return torch.cat((known, torch.zeros(1, 3)))
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(8, model.latent.channels, 3, 3, generator=generator)
    smooth = functional.interpolate(coarse, size=(8, 8), mode="bilinear").to(model.device)
    cells = torch.cat([_with_one(x[None]).flatten(0, 1) for x in smooth])
    decoded = functional.avg_pool2d(model.decode_latents(smooth), model.latent.pixels).cpu()
    return _fit(cells, decoded.permute(0, 2, 3, 1).reshape(-1, 3))


def _fit(cells: Tensor, rgb: Tensor) -> Tensor:
    """Ridge regression, so that few samples of many channels give no wild colours."""
    weight = torch.eye(cells.shape[1]) * 0.01 * len(cells)
    colours: Tensor = torch.linalg.solve(cells.T @ cells + weight, cells.T @ rgb.clamp(-1, 1))
    return colours


def _with_one(x: Tensor) -> Tensor:
    """(1, C, h, w) → (h, w, C + 1) on the processor."""
    cells = x[0].cpu().permute(1, 2, 0)
    return torch.cat((cells, torch.ones(*cells.shape[:2], 1)), dim=2)
