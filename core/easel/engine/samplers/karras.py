"""Euler, Heun and DPM2 with churn (Karras et al. 2022, "Elucidating the Design Space", algorithm 2).

The probability-flow ODE is dx/dsigma = (x - x0) / sigma. "Churn" first raises the noise level from sigma to sigma_hat
by adding fresh noise; with churn 0 the samplers are deterministic.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from easel.engine.samplers.plan import SamplingPlan
from easel.engine.samplers.protocol import Evaluation, NoiseSource, SamplerRun


def euler(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """One Euler step from every sigma to the next."""
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        x, sigma = churn(plan, x, sigma, noise)
        answer = yield Evaluation(x, sigma, step)
        x = x + (after - sigma) * slope(x, sigma, answer.value)
    return x


def heun(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """Euler, then the mean of the slopes at both ends; plain Euler into 0."""
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        x, sigma = churn(plan, x, sigma, noise)
        answer = yield Evaluation(x, sigma, step)
        first = slope(x, sigma, answer.value)
        reached = x + (after - sigma) * first
        if after > 0:
            answer = yield Evaluation(reached, after, step)
            reached = x + (after - sigma) * (first + slope(reached, after, answer.value)) / 2
        x = reached
    return x


def dpm2(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """The slope at the geometric middle of the step (DPM-Solver-2); plain Euler into 0."""
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        x, sigma = churn(plan, x, sigma, noise)
        answer = yield Evaluation(x, sigma, step)
        direction = slope(x, sigma, answer.value)
        if after > 0:
            middle = math.sqrt(sigma * after)
            halfway = x + (middle - sigma) * direction
            answer = yield Evaluation(halfway, middle, step)
            direction = slope(halfway, middle, answer.value)
        x = x + (after - sigma) * direction
    return x


def slope(x: Tensor, sigma: float, denoised: Tensor) -> Tensor:
    """dx/dsigma of the probability-flow ODE."""
    return (x - denoised) / sigma


def churn(plan: SamplingPlan, x: Tensor, sigma: float, noise: NoiseSource) -> tuple[Tensor, float]:
    """Raise the noise level by the plan's churn: the noisier x and its sigma.

    The noise is drawn even where it is not used: A1111's pictures depend on the place in the sequence of draws.
    """
    settings = plan.churn
    inside = settings.s_tmin <= sigma <= settings.s_tmax
    gamma = min(settings.s_churn / (len(plan.sigmas) - 1), math.sqrt(2) - 1) if inside else 0.0
    fresh = noise.draw()
    if gamma <= 0:
        return x, sigma
    raised = sigma * (1 + gamma)
    return x + fresh * settings.s_noise * math.sqrt(raised**2 - sigma**2), raised
