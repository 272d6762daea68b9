"""Ancestral samplers: every step goes down below its target and comes back up with fresh noise.

The split of a step into a deterministic way down and noise up follows Song et al. 2021 (DDPM as eta 1, DDIM as eta 0).
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from easel.engine.samplers.karras import slope
from easel.engine.samplers.plan import SamplingPlan
from easel.engine.samplers.protocol import Evaluation, NoiseSource, SamplerRun


def ancestral_step(sigma: float, after: float, eta: float) -> tuple[float, float]:
    """Where a step from `sigma` to `after` goes down to, and the noise that brings it back up: (down, up)."""
    if eta == 0:
        return after, 0.0
    up = min(after, eta * math.sqrt(after**2 * (sigma**2 - after**2) / sigma**2))
    return math.sqrt(after**2 - up**2), up


def euler_ancestral(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """Euler down, noise up."""
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        answer = yield Evaluation(x, sigma, step)
        down, up = ancestral_step(sigma, after, plan.eta)
        x = x + (down - sigma) * slope(x, sigma, answer.value)
        if after > 0:
            x = x + noise.draw() * up
    return x


def dpm2_ancestral(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """DPM2 down, noise up."""
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        answer = yield Evaluation(x, sigma, step)
        direction = slope(x, sigma, answer.value)
        down, up = ancestral_step(sigma, after, plan.eta)
        if down == 0:
            x = x + (down - sigma) * direction
            continue
        middle = math.sqrt(sigma * down)
        halfway = x + (middle - sigma) * direction
        answer = yield Evaluation(halfway, middle, step)
        x = x + (down - sigma) * slope(halfway, middle, answer.value)
        x = x + noise.draw() * (plan.churn.s_noise * up)
    return x


def dpm_plus_2s_ancestral(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """DPM-Solver++(2S) down (Lu et al. 2022b, algorithm 1 with the middle in log sigma), noise up."""
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        answer = yield Evaluation(x, sigma, step)
        down, up = ancestral_step(sigma, after, plan.eta)
        if down == 0:
            x = x + (down - sigma) * slope(x, sigma, answer.value)
        else:
            middle = math.sqrt(sigma * down)
            halfway = toward(x, answer.value, middle / sigma)
            answer = yield Evaluation(halfway, middle, step)
            x = toward(x, answer.value, down / sigma)
        if after > 0:
            x = x + noise.draw() * (plan.churn.s_noise * up)
    return x


def toward(x: Tensor, denoised: Tensor, ratio: float) -> Tensor:
    """The exact solution for a constant x0 when sigma falls to `ratio` of itself."""
    return ratio * x + (1 - ratio) * denoised
