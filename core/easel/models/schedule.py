"""The noise schedule a model was trained with; what its output means stands in `easel.engine.levels`."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["eps", "v"]


def alphas_cumprod(start: float = 0.00085, end: float = 0.012, steps: int = 1000) -> Tensor:
    """ᾱ of the "scaled linear" schedule of all Stable Diffusion models: (steps,) float32, falling from 1 towards 0."""
    betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1.0 - betas, dim=0).float()


def zero_terminal_snr(alphas: Tensor) -> Tensor:
    """The schedule shifted and scaled so that its last step holds no signal (arXiv:2305.08891, algorithm 1).

    The very last value is a little above zero, so that its sigma is finite (A1111 uses the same number).
    """
    root = alphas.double().sqrt()
    first, last = root[0].clone(), root[-1].clone()
    rescaled = ((root - last) * first / (first - last)) ** 2
    rescaled[-1] = 4.8973451890853435e-08
    return rescaled.to(alphas.dtype)
