"""A small sampler, so that the tools need nothing but the networks: DPM++ 2M on Karras sigmas, v-prediction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from networks import noise_levels

Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def karras_sigmas(steps: int, levels: torch.Tensor, rho: float = 7.0) -> torch.Tensor:
    """Decreasing noise levels [steps + 1] in sigma = noise / signal, ending in 0."""
    sigma = ((1 - levels) / levels).sqrt()
    ramp = torch.linspace(0, 1, steps)
    low, high = sigma[0] ** (1 / rho), sigma[-1] ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1)])


@torch.inference_mode()
def sample(
    unet: Denoiser, prompt: torch.Tensor, empty: torch.Tensor, seeds: list[int], steps: int = 20, cfg: float = 5.0
) -> torch.Tensor:
    """Latents [N, 16, 16, 16] for prompt embeddings [N, L, C] guided away from ``empty`` [N, L, C], one seed each."""
    levels = noise_levels()
    table = ((1 - levels) / levels).sqrt().log()
    sigmas = karras_sigmas(steps, levels)
    x = (
        torch.stack([torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        * sigmas[0]
    )
    context = torch.cat([prompt, empty])
    before: torch.Tensor | None = None
    for i in range(steps):
        sigma = float(sigmas[i])
        position = int((table - sigmas[i].log()).abs().argmin())
        scaled = (x / (1 + sigma**2) ** 0.5).repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        v = unet(scaled, torch.full((len(scaled),), position), context)
        wanted, plain = v.chunk(2)
        guided = plain + cfg * (wanted - plain)
        denoised = x / (1 + sigma**2) - guided * sigma / (1 + sigma**2) ** 0.5
        if sigmas[i + 1] == 0:
            return denoised
        t, following = -sigmas[i].log(), -sigmas[i + 1].log()
        h = following - t
        blend = denoised
        if before is not None:
            ratio = (t + sigmas[i - 1].log()) / h
            blend = (1 + 1 / (2 * ratio)) * denoised - before / (2 * ratio)
        x = (sigmas[i + 1] / sigmas[i]) * x - torch.expm1(-h) * blend
        before = denoised
    return x
