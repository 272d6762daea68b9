"""DDIM (Song et al. 2021), DDIM with CFG++ (Chung et al. 2024) and PLMS (Liu et al. 2022, "PNDM").

They work on x = sqrt(ᾱ)·x0 + sqrt(1-ᾱ)·noise at whole timesteps and, as A1111's, never step off the lowest one: n
timesteps make n-1 steps.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from easel.engine.samplers.plan import SamplingPlan
from easel.engine.samplers.protocol import Evaluation, NoiseSource, SamplerRun


def ddim(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """Deterministic at eta 0, DDPM at eta 1 (equation 12)."""
    for step, (t, before) in enumerate(_downward(plan)):
        eps = (yield Evaluation(x, t, step)).value
        x = ddim_step(plan, x, t, before, predicted=eps, direction=eps, noise=noise)
    return x


def ddim_cfg_plus(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """x0 from the guided noise, the way back to the next level along the negative prompt's (algorithm 2)."""
    for step, (t, before) in enumerate(_downward(plan)):
        answer = yield Evaluation(x, t, step)
        x = ddim_step(plan, x, t, before, predicted=answer.value, direction=answer.uncond, noise=noise)
    return x


def ddim_step(
    plan: SamplingPlan, x: Tensor, t: int, before: int, *, predicted: Tensor, direction: Tensor, noise: NoiseSource
) -> Tensor:
    """One step from timestep `t` down to `before`, with the plan's eta of fresh noise."""
    alpha, alpha_before = plan.schedule.alpha_cumprod_of(t), plan.schedule.alpha_cumprod_of(before)
    fresh = plan.eta * math.sqrt((1 - alpha_before) / (1 - alpha) * (1 - alpha / alpha_before))
    moved = math.sqrt(alpha_before) * _x0(plan, x, t, predicted)
    moved = moved + math.sqrt(max(0.0, 1 - alpha_before - fresh**2)) * direction
    return moved + fresh * noise.draw() if fresh else moved


def plms(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """DDIM steps along a linear multistep mixture of the last four noises; the first step is improved Euler."""
    past: list[Tensor] = []  # newest first
    for step, (t, before) in enumerate(_downward(plan)):
        eps = (yield Evaluation(x, t, step)).value
        if len(past) == 0:
            reached = _transfer(plan, x, t, before, eps)
            mixture = (eps + (yield Evaluation(reached, before, step)).value) / 2
        elif len(past) == 1:
            mixture = (3 * eps - past[0]) / 2
        elif len(past) == 2:
            mixture = (23 * eps - 16 * past[0] + 5 * past[1]) / 12
        else:
            mixture = (55 * eps - 59 * past[0] + 37 * past[1] - 9 * past[2]) / 24
        x = _transfer(plan, x, t, before, mixture)
        past = [eps, *past[:2]]
    return x


def _downward(plan: SamplingPlan) -> list[tuple[int, int]]:
    """The steps (from, to), from the highest timestep to the lowest."""
    return list(pairwise(plan.timesteps[::-1]))


def _transfer(plan: SamplingPlan, x: Tensor, t: int, before: int, eps: Tensor) -> Tensor:
    """The transfer of PNDM (equation 11), which is DDIM's step without noise."""
    alpha_before = plan.schedule.alpha_cumprod_of(before)
    return math.sqrt(alpha_before) * _x0(plan, x, t, eps) + math.sqrt(1 - alpha_before) * eps


def _x0(plan: SamplingPlan, x: Tensor, t: int, eps: Tensor) -> Tensor:
    alpha = plan.schedule.alpha_cumprod_of(t)
    return (x - math.sqrt(1 - alpha) * eps) / math.sqrt(alpha)
