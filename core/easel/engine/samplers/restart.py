"""Restart sampling (Xu et al. 2023): Heun, going back up to a higher noise level and down again at low noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from easel.engine.samplers.karras import slope
from easel.engine.samplers.plan import SamplingPlan
from easel.engine.samplers.protocol import Evaluation, NoiseSource, SamplerRun
from easel.engine.schedules import SigmaRange, karras

RESTART_AT, RESTART_FROM = 0.1, 2.0  # restart when sigma is near the first, from near the second


def restart(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """Heun over every leg of `restart_steps`; a leg that begins above where x is starts with fresh noise."""
    reached = plan.sigmas[0]
    for step, (sigma, after) in enumerate(restart_steps(plan)):
        if sigma > reached:
            x = x + noise.draw() * math.sqrt(sigma**2 - reached**2)
        answer = yield Evaluation(x, sigma, step)
        first = slope(x, sigma, answer.value)
        euler = x + (after - sigma) * first
        if after > 0:
            answer = yield Evaluation(euler, after, step)
            x = x + (after - sigma) * (first + slope(euler, after, answer.value)) / 2
        else:
            x = euler
        reached = after
    return x


def restart_steps(plan: SamplingPlan) -> list[tuple[float, float]]:
    """The steps (from, to) of a run: under 20 steps there is no restart, from 36 on there are two.

    The restarts' steps are taken out of the main descent, which is then a Karras schedule; the number stays.
    """
    steps = len(plan.sigmas) - 1
    if steps < 20:
        return list(pairwise(plan.sigmas))
    length, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    span = SigmaRange(schedule=plan.schedule, low=plan.sigmas[-2], high=plan.sigmas[0])
    descent = [float(sigma) for sigma in karras(steps - length * times, span)]
    low, high = nearest(descent, RESTART_AT), nearest(descent, RESTART_FROM)
    legs = list(pairwise(descent))
    if low < 1 or high >= low:
        return legs
    loop_span = SigmaRange(schedule=plan.schedule, low=descent[low], high=descent[high])
    loop = [float(sigma) for sigma in karras(length + 1, loop_span)[:-1]]
    return legs[:low] + list(pairwise(loop)) * times + legs[low:]


def nearest(sigmas: Sequence[float], target: float) -> int:
    """The index of the sigma nearest to `target`."""
    return min(range(len(sigmas)), key=lambda index: abs(sigmas[index] - target))
