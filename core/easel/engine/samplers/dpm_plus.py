"""DPM-Solver++ (Lu et al. 2022b): multistep 2M, and its SDE relatives with noise from one Brownian path.

Written in sigma: a step of length h = log(sigma / after) keeps the part exp(-h) = after / sigma of x and replaces the
rest by the prediction of x0. The SDE forms go down further, by exp(-eta·h) more, and come back with noise.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from easel.engine.samplers.ancestral import ancestral_step, toward
from easel.engine.samplers.karras import slope
from easel.engine.samplers.plan import SamplingPlan
from easel.engine.samplers.protocol import Evaluation, NoiseSource, SamplerRun


def dpm_plus_2m(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """Second order from the last two predictions (algorithm 2); first order at the start and into 0."""
    previous: Tensor | None = None
    last_h = 0.0
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        denoised = (yield Evaluation(x, sigma, step)).value
        if after == 0:
            return denoised
        h = math.log(sigma / after)
        aim = denoised if previous is None else denoised + h / (2 * last_h) * (denoised - previous)
        x = toward(x, aim, after / sigma)
        previous, last_h = denoised, h
    return x


def dpm_plus_sde(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """Single-step second order: an ancestral step to the middle (in log sigma), then one over the whole way."""
    path = noise.brownian(*plan.sigma_range)
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        denoised = (yield Evaluation(x, sigma, step)).value
        if after == 0:
            return x + (after - sigma) * slope(x, sigma, denoised)
        middle = math.sqrt(sigma * after)
        down, up = ancestral_step(sigma, middle, plan.eta)
        halfway = toward(x, denoised, down / sigma) + path(sigma, middle) * (plan.churn.s_noise * up)
        denoised = (yield Evaluation(halfway, middle, step)).value
        down, up = ancestral_step(sigma, after, plan.eta)
        x = toward(x, denoised, down / sigma) + path(sigma, after) * (plan.churn.s_noise * up)
    return x


def dpm_plus_2m_sde(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """SDE-DPM-Solver++(2M), with the midpoint or the Heun form of the second-order term (`solver_type`)."""
    path = noise.brownian(*plan.sigma_range)
    previous: Tensor | None = None
    last_h = 0.0
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        denoised = (yield Evaluation(x, sigma, step)).value
        if after == 0:
            return denoised
        h = math.log(sigma / after)
        whole = h * (1 + plan.eta)
        x = toward(x, denoised, math.exp(-whole))
        if previous is not None:
            heun = plan.sampler.solver_type == "heun"
            weight = 1 + math.expm1(-whole) / whole if heun else -math.expm1(-whole) / 2
            x = x + weight * (h / last_h) * (denoised - previous)
        x = x + path(sigma, after) * _noise_of_step(plan, after, h)
        previous, last_h = denoised, h
    return x


def dpm_plus_3m_sde(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """SDE-DPM-Solver++(3M): first, second and third order as predictions come in."""
    path = noise.brownian(*plan.sigma_range)
    past: list[tuple[Tensor, float]] = []  # earlier predictions with the step that followed, newest first
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        denoised = (yield Evaluation(x, sigma, step)).value
        if after == 0:
            return denoised
        h = math.log(sigma / after)
        whole = h * (1 + plan.eta)
        x = toward(x, denoised, math.exp(-whole))
        phi_2 = math.expm1(-whole) / whole + 1
        if len(past) == 1:
            (one, h_1) = past[0]
            x = x + phi_2 * (h / h_1) * (denoised - one)
        elif len(past) == 2:
            (one, h_1), (two, h_2) = past
            near, far = (denoised - one) * (h / h_1), (one - two) * (h / h_2)
            curve = (near - far) * (h / (h_1 + h_2))
            phi_3 = phi_2 / whole - 0.5
            x = x + phi_2 * (near + curve * (h_1 / h)) - phi_3 * curve
        x = x + path(sigma, after) * _noise_of_step(plan, after, h)
        past = [(denoised, h), *past[:1]]
    return x


def _noise_of_step(plan: SamplingPlan, after: float, h: float) -> float:
    """How much noise brings x back to `after` after it went down by exp(-eta·h) more."""
    return plan.churn.s_noise * after * math.sqrt(-math.expm1(-2 * plan.eta * h))
