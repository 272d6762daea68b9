"""UniPC (Zhao et al. 2023): a predictor-corrector whose corrector costs no evaluation of its own.

Works in lambda = log(alpha/sigma) on predictions of x0, with continuous time t in (0, 1] (timestep + 1 = 1000·t). Every
evaluation at a predicted point first corrects that point, then serves the next prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from easel.engine.samplers.plan import SamplingPlan
from easel.engine.samplers.protocol import Evaluation, NoiseSource, SamplerRun
from easel.engine.schedules import LEVELS, Array, NoiseSchedule
from easel.errors import UnknownName

SKIP_TYPES = ("time_uniform", "time_quadratic", "logSNR")
VARIANTS = ("bh1", "bh2", "vary_coeff")


@dataclass(frozen=True, slots=True)
class Level:
    """One point of time: x = alpha·x0 + sigma·noise, lambda = log(alpha/sigma)."""

    t: float
    alpha: float
    sigma: float

    @property
    def lam(self) -> float:
        """Half the log signal-to-noise ratio."""
        return math.log(self.alpha / self.sigma)


def unipc(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """Multistep UniPC of the plan's order and variant; fewer steps than the order lower it."""
    options = plan.options
    if options.uni_pc_variant not in VARIANTS:
        raise UnknownName.among("uni_pc_variant", options.uni_pc_variant, VARIANTS)
    levels = time_levels(plan)
    steps = len(levels) - 1
    top_order = max(1, min(int(options.uni_pc_order), steps))
    past: list[tuple[Level, Tensor]] = []  # levels and their x0, newest first
    if steps < 1:
        return x
    answer = yield Evaluation(x, levels[0].t * LEVELS - 1, 0)
    past.append((levels[0], _x0(x, levels[0], answer.value)))
    for step in range(1, steps + 1):
        order = min(top_order, step)
        if options.uni_pc_lower_order_final and step >= top_order:
            order = min(order, steps + 1 - step)
        level, terms = levels[step], past[:order]
        predicted = _moved(plan, x, level, terms, None)
        if step == steps:
            return predicted
        answer = yield Evaluation(predicted, level.t * LEVELS - 1, step)
        found = _x0(predicted, level, answer.value)
        x = _moved(plan, x, level, terms, found)
        past = [(level, found), *past[: top_order - 1]]
    return x


def time_levels(plan: SamplingPlan) -> list[Level]:
    """The times to visit, from the noisiest: as many steps as the plan has timesteps, spaced by its skip type.

    img2img starts at the timestep below the one its noise belongs to, as A1111 does.
    """
    steps = len(plan.timesteps)
    if steps == 0:
        return []
    start = (plan.timesteps[-1] + 1) / LEVELS if plan.img2img else 1.0
    end, spacing = 1 / LEVELS, plan.options.uni_pc_skip_type
    if spacing == "time_uniform":
        times = np.linspace(start, end, steps + 1)
    elif spacing == "time_quadratic":
        times = np.linspace(math.sqrt(start), math.sqrt(end), steps + 1) ** 2
    elif spacing == "logSNR":
        low, high = _level(plan.schedule, start).lam, _level(plan.schedule, end).lam
        times = _time_of(plan.schedule, np.linspace(low, high, steps + 1))
    else:
        raise UnknownName.among("uni_pc_skip_type", spacing, SKIP_TYPES)
    return [_level(plan.schedule, float(t)) for t in times]


def _level(schedule: NoiseSchedule, t: float) -> Level:
    """The level at time `t`, log alpha being interpolated between the model's own."""
    log_alpha = float(np.interp(t * LEVELS - 1, schedule.timesteps, 0.5 * np.log(schedule.alphas_cumprod)))
    return Level(t, math.exp(log_alpha), math.sqrt(-math.expm1(2 * log_alpha)))


def _time_of(schedule: NoiseSchedule, lams: Array) -> Array:
    """The inverse: the times of these lambdas."""
    log_alphas = -0.5 * np.logaddexp(0.0, -2 * lams)
    known = 0.5 * np.log(schedule.alphas_cumprod)
    times: Array = (np.interp(-log_alphas, -known, schedule.timesteps) + 1) / LEVELS
    return times


def _x0(x: Tensor, level: Level, eps: Tensor) -> Tensor:
    return (x - level.sigma * eps) / level.alpha


def _moved(
    plan: SamplingPlan, x: Tensor, level: Level, past: Sequence[tuple[Level, Tensor]], found: Tensor | None
) -> Tensor:
    """x moved to `level`: UniP from the x0 known so far, UniC when `found`, the x0 predicted there, is known too."""
    (here, newest), older = past[0], past[1:]
    h = level.lam - here.lam
    x = (level.sigma / here.sigma) * x - level.alpha * math.expm1(-h) * newest
    ratios = [(one.lam - here.lam) / h for one, _ in older] + ([1.0] if found is not None else [])
    changes = [one - newest for _, one in older] + ([found - newest] if found is not None else [])
    if not changes:
        return x
    if plan.options.uni_pc_variant == "vary_coeff":
        weights = _vary_weights(ratios, h, corrects=found is not None)
    else:
        weights = _bh_weights(ratios, h, scale=-h if plan.options.uni_pc_variant == "bh1" else math.expm1(-h))
    for weight, ratio, change in zip(weights, ratios, changes, strict=True):
        x = x - level.alpha * weight / ratio * change
    return x


def _phis(h: float, count: int) -> list[float]:
    """phi_1·h, phi_2·h, … of the paper's appendix for x0 prediction, at -h: phi_k+1 = (phi_k - 1/k!) / (-h)."""
    values, factorial = [math.expm1(-h)], 1
    for k in range(1, count):
        values.append(values[-1] / -h - 1 / factorial)
        factorial *= k + 1
    return values


def _bh_weights(ratios: Sequence[float], h: float, scale: float) -> list[float]:
    """The weights B(h)·a of theorem 3.1, `scale` being B(h); a single one is simplified to a half."""
    if len(ratios) == 1:
        return [scale * 0.5]
    powers = np.vander(ratios, increasing=True).T
    target = [phi * math.factorial(k) / scale for k, phi in enumerate(_phis(h, len(ratios) + 1)[1:], start=1)]
    return [scale * float(weight) for weight in np.linalg.solve(powers, target)]


def _vary_weights(ratios: Sequence[float], h: float, *, corrects: bool) -> list[float]:
    """The varying-coefficient form (appendix C): the inverse of C with C[i, k] = ratio_i^k / (k+1)!."""
    count = len(ratios)
    inverse = np.linalg.inv([[ratio**k / math.factorial(k + 1) for k in range(count)] for ratio in ratios])
    phis = np.array(_phis(h, count + 1)[1:])
    if corrects and count > 1:
        # The authors' published corrector, which A1111's pictures come from, leaves out the last row for the older
        # points and takes the row before it for the newest.
        older = phis[:-1] @ inverse[:-1, :-1]
        return [*(float(weight) for weight in older), float(phis[-1] * inverse[-2, -1])]
    return [float(weight) for weight in phis @ inverse]
