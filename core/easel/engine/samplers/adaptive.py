"""DPM-Solver (Lu et al. 2022a) with ancestral noise: "fast" for a number of evaluations, "adaptive" for a tolerance.

In lambda = -log sigma and the noise prediction eps = (x - x0) / sigma the ODE is dx/dlambda = -sigma·eps; the solvers
of order 1, 2 and 3 integrate it exactly for constant, linear and quadratic eps. A step of length h in lambda goes from
sigma to `down`, and noise `up` brings it to the level that was meant.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TypeVar

import torch
from torch import Tensor

from easel.engine.samplers.ancestral import ancestral_step
from easel.engine.samplers.karras import slope
from easel.engine.samplers.plan import SamplingPlan
from easel.engine.samplers.protocol import Evaluation, NoiseSource, Prediction, SamplerRun
from easel.errors import NotANumber

T = TypeVar("T")
Part = Generator[Evaluation, Prediction, T]


def dpm_fast(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """Third-order steps, evenly spaced in lambda, and what the number of evaluations leaves for the last ones.

    Progress counts evaluations, of which there are exactly `steps`.
    """
    evaluations = len(plan.sigmas) - 1 if plan.img2img else plan.steps
    orders = fast_orders(evaluations)
    low, high = plan.sigma_range
    done, sigma = 0, high
    for index, order in enumerate(orders, start=1):
        after = high * (low / high) ** (index / len(orders))
        down, up = _down_and_up(sigma, after, low, plan.eta)
        eps = yield from _noise_at(x, sigma, done)
        if order == 1:
            x = x - down * math.expm1(math.log(sigma / down)) * eps
        elif order == 2:
            x, _ = yield from _second_order(x, eps, sigma, down, 1 / 2, done + 1)
        else:
            _, eps_1 = yield from _second_order(x, eps, sigma, down, 1 / 3, done + 1)
            x = yield from _third_order(x, eps, eps_1, sigma, down, done + 2)
        x = x + noise.draw() * (plan.churn.s_noise * up)
        done, sigma = done + order, after
    return x


def fast_orders(evaluations: int) -> list[int]:
    """The orders of DPM-Solver-fast's steps; they add up to `evaluations` (section 3.4 of the paper)."""
    thirds, rest = divmod(evaluations, 3)
    if evaluations < 1:
        return []
    return [3] * thirds + [rest] if rest else [3] * (thirds - 1) + [2, 1]


def dpm_adaptive(
    plan: SamplingPlan, x: Tensor, noise: NoiseSource, rtol: float = 0.05, atol: float = 0.0078, h: float = 0.05
) -> SamplerRun:
    """Third order, with the second-order solution beside it to set the step size `h` (appendix C of the paper).

    Picks its own number of steps; progress says how far it is on its way, in units of the steps asked for.
    Errors: NotANumber, where the model's answer is none.
    """
    low, high = plan.sigma_range
    if len(plan.sigmas) < 2:
        return x
    sigma, x_before, controlled_order = high, x, 1.5 if plan.eta else 3.0
    while math.log(sigma / low) > 1e-5:
        step = min(plan.steps - 1, int(plan.steps * math.log(high / sigma) / math.log(high / low)))
        after = max(low, sigma * math.exp(-h))
        down, up = _down_and_up(sigma, after, low, plan.eta)
        eps = yield from _noise_at(x, sigma, step)
        x_low, eps_1 = yield from _second_order(x, eps, sigma, down, 1 / 3, step)
        x_high = yield from _third_order(x, eps, eps_1, sigma, down, step)
        tolerated = torch.clamp(rtol * torch.maximum(x_low.abs(), x_before.abs()), min=atol)
        error = float(((x_low - x_high) / tolerated).square().mean().sqrt())
        if not math.isfinite(error):
            raise NotANumber
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / controlled_order) - 1)
        h *= factor
        if factor >= 0.81:
            x, x_before, sigma = x_high + noise.draw() * (plan.churn.s_noise * up), x_low, after
    return x


def _down_and_up(sigma: float, after: float, low: float, eta: float) -> tuple[float, float]:
    """The ancestral split of a step that may not go below `low`."""
    down = max(low, ancestral_step(sigma, after, eta)[0])
    return down, math.sqrt(max(0.0, after**2 - down**2))


def _noise_at(x: Tensor, sigma: float, step: int) -> Part[Tensor]:
    answer = yield Evaluation(x, sigma, step)
    return slope(x, sigma, answer.value)


def _second_order(
    x: Tensor, eps: Tensor, sigma: float, down: float, r: float, step: int
) -> Part[tuple[Tensor, Tensor]]:
    """DPM-Solver-2 with its middle at `r` of the step: the solution and eps at the middle."""
    h = math.log(sigma / down)
    middle = sigma * math.exp(-r * h)
    eps_1 = yield from _noise_at(x - middle * math.expm1(r * h) * eps, middle, step)
    return x - down * math.expm1(h) * (eps + (eps_1 - eps) / (2 * r)), eps_1


def _third_order(x: Tensor, eps: Tensor, eps_1: Tensor, sigma: float, down: float, step: int) -> Part[Tensor]:
    """DPM-Solver-3, given eps at one third of the step; looks at two thirds."""
    r1, r2 = 1 / 3, 2 / 3
    h = math.log(sigma / down)
    middle, bend = sigma * math.exp(-r2 * h), math.expm1(r2 * h) / (r2 * h) - 1
    halfway = x - middle * (math.expm1(r2 * h) * eps + (r2 / r1) * bend * (eps_1 - eps))
    eps_2 = yield from _noise_at(halfway, middle, step)
    return x - down * (math.expm1(h) * eps + (math.expm1(h) / h - 1) / r2 * (eps_2 - eps))
