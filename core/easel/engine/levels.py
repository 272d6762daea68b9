"""Between a sampler and a model: the input a model wants, and what its output says.

Samplers think in sigmas, x = x0 + sigma·eps, and want x0; or in timesteps, x = √ᾱ·x0 + √(1-ᾱ)·eps, and want eps
(`Sampler.space`). Models take √ᾱ-scaled inputs with a timestep and answer eps or v (Karras et al., arXiv:2206.00364,
table 1; Salimans and Ho, arXiv:2202.00512, appendix D). All levels are Python floats, so nothing waits for a device.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from torch import Tensor

from easel.engine.schedules import NoiseSchedule


@dataclass(frozen=True, slots=True)
class Levels:
    """The noise levels of a model and what it predicts at them."""

    schedule: NoiseSchedule
    prediction: Literal["eps", "v"]

    def progress(self, sigma: float) -> float:
        """How much of the schedule lies behind a sigma, 0…0.999, as the refiner's switch counts it."""
        sigmas = self.schedule.sigmas
        return (len(sigmas) - 1 - int(np.abs(sigmas - sigma).argmin())) / len(sigmas)

    def scaled(self, x: Tensor, sigma: float) -> Tensor:
        """The model's input for a sampler in sigma space."""
        return x / sqrt(sigma * sigma + 1.0)

    def denoised(self, output: Tensor, x: Tensor, sigma: float) -> Tensor:
        """x0 from the model's output, in sigma space."""
        if self.prediction == "eps":
            return x.sub(output, alpha=sigma)
        total = sigma * sigma + 1.0
        return (x / total).sub_(output, alpha=sigma / sqrt(total))

    def noise(self, output: Tensor, x: Tensor, timestep: float) -> Tensor:
        """eps from the model's output, in timestep space."""
        if self.prediction == "eps":
            return output
        alpha = self.schedule.alpha_cumprod_of(timestep)
        return (output * sqrt(alpha)).add_(x, alpha=sqrt(1.0 - alpha))

    def clean(self, noise: Tensor, x: Tensor, timestep: float) -> Tensor:
        """x0 from eps, in timestep space."""
        alpha = self.schedule.alpha_cumprod_of(timestep)
        return x.sub(noise, alpha=sqrt(1.0 - alpha)).div_(sqrt(alpha))
