"""Sizes: what was asked, what is delivered, and the size the model's latent grid can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTPUT_STEP = 8  # A1111 cuts sides to multiples of 8, whatever the model


@dataclass(frozen=True, slots=True)
class Frame:
    """`width` x `height` pixels are delivered; the model works at `grid_width` x `grid_height`, the same or larger.

    Where they differ (a starter latent covers 32 pixels, not 8) pictures are padded on the right and below before
    they are encoded, and cropped after they are decoded.
    """

    width: int
    height: int
    grid_width: int
    grid_height: int
    step: int = OUTPUT_STEP  # pixels per latent

    @classmethod
    def of(cls, width: int, height: int, pixels_per_latent: int) -> Frame:
        """The frame for an asked size in pixels; both at least 8."""
        width, height = width // OUTPUT_STEP * OUTPUT_STEP, height // OUTPUT_STEP * OUTPUT_STEP
        grid = _up(width, pixels_per_latent), _up(height, pixels_per_latent)
        return cls(width, height, *grid, pixels_per_latent)

    def pad(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width, …) → (grid_height, grid_width, …), the last row and column repeated."""
        right, below = self.grid_width - pixels.shape[1], self.grid_height - pixels.shape[0]
        if not right and not below:
            return pixels
        return np.pad(pixels, ((0, below), (0, right), *[(0, 0)] * (pixels.ndim - 2)), mode="edge")

    def fitted(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture of about this size, for the encoder.

        Where the grid is as fine as A1111's, a few pixels too many stay, as there: encoders skip what fills no cell.
        """
        if (self.width, self.height) == (self.grid_width, self.grid_height) and self.step == OUTPUT_STEP:
            return pixels
        return self.pad(self.crop(pixels))

    def crop(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The inverse of `pad`."""
        return pixels[: self.height, : self.width]


def _up(size: int, step: int) -> int:
    return -(-size // step) * step
