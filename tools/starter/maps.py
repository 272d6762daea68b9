"""A picture's map: what the text encoder says in its padding tokens, and the denoiser looks up there.

A causal encoder's padding tokens see the whole prompt and know their own place. So the token at place 16 + p can
carry patch p of a 4x4 grid (4x4 cells of the latents). What it shall say is laid down before either network is
trained: of its 192 numbers the first 96 are the main components of the patch, the next 32 a code of its place, the rest
nearly nothing. The denoiser therefore can learn to read from maps made of the pictures themselves, at the same time as
the text encoder learns to write them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from captions import MAP
from clock import write_state
from latents import Latents
from networks import TEXT_WIDTH
from scenes import Scenes

WHOLE_CODES, PATCH_CODES, PLACE_CODES = 128, 96, 32
SAMPLE = 3000


def patches(latents: torch.Tensor) -> torch.Tensor:
    """Latents [N, 16, 16, 16] -> patches of 4x4 cells, row by row [N, 16, 256]."""
    return latents.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(len(latents), MAP, 256)


@dataclass(frozen=True)
class Components:
    """Main components of flat vectors: ``mean`` [D], ``axes`` [D, K], divided by ``scale`` to a mean square of one."""

    mean: torch.Tensor
    axes: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, flat: torch.Tensor, count: int) -> Components:
        """Of vectors [N, D]."""
        mean = flat.mean(0)
        axes = torch.svd_lowrank(flat - mean, q=count, niter=4)[2]
        return cls(mean, axes, ((flat - mean) @ axes).square().mean().sqrt())

    def codes(self, flat: torch.Tensor) -> torch.Tensor:
        """[..., D] -> [..., K]."""
        return (flat - self.mean) @ self.axes / self.scale


@dataclass(frozen=True)
class Maps:
    """The components of whole pictures and of patches, and the codes of the places [16, 32]."""

    whole: Components
    patch: Components
    places: torch.Tensor

    @classmethod
    def of(cls, work: Path, data: Latents) -> Maps:
        """The maps that belong to the latents; made once and kept in ``work/maps.pt``."""
        file = work / "maps.pt"
        if not file.exists():
            some = Scenes(data, random.Random(0))
            sample = torch.stack([some.next()[1] for _ in range(SAMPLE)])
            made = (
                Components.of(sample.flatten(1), WHOLE_CODES), Components.of(patches(sample).flatten(0, 1), PATCH_CODES)
            )  # fmt: skip
            write_state(
                file,
                {
                    "components": [(part.mean, part.axes, part.scale) for part in made],
                    "places": torch.randn(MAP, PLACE_CODES, generator=torch.Generator().manual_seed(0)),
                },
            )
        state = torch.load(file, weights_only=True)
        whole, patch = (Components(*part) for part in state["components"])
        return cls(whole, patch, state["places"])

    def states(self, latents: torch.Tensor) -> torch.Tensor:
        """What the padding tokens shall say of latents [N, 16, 16, 16]: [N, 16, 192]."""
        count = len(latents)
        rest = torch.zeros(count, MAP, TEXT_WIDTH - PATCH_CODES - PLACE_CODES)
        return torch.cat([self.patch.codes(patches(latents)), self.places.expand(count, -1, -1), rest], -1)
