"""Linear multistep (LMS): integrate the polynomial through the last slopes over the next step (Adams-Bashforth)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from numpy.polynomial import Polynomial
from torch import Tensor

from easel.engine.samplers.karras import slope
from easel.engine.samplers.plan import SamplingPlan
from easel.engine.samplers.protocol import Evaluation, NoiseSource, SamplerRun


def lms(plan: SamplingPlan, x: Tensor, noise: NoiseSource, order: int = 4) -> SamplerRun:
    """Up to `order` slopes at the sigmas passed so far."""
    slopes: list[Tensor] = []  # newest first
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        answer = yield Evaluation(x, sigma, step)
        slopes = [slope(x, sigma, answer.value), *slopes[: order - 1]]
        passed = plan.sigmas[step + 1 - len(slopes) : step + 1][::-1]
        for weight, direction in zip(adams_bashforth(passed, after), slopes, strict=True):
            x = x + weight * direction
    return x


def adams_bashforth(passed: Sequence[float], after: float) -> list[float]:
    """The weights of the slopes at `passed` (newest first) for a step from the newest to `after`.

    The weight of a slope is the integral of its Lagrange basis polynomial; in units of the step, to stay well scaled.
    """
    length = after - passed[0]
    nodes = [(sigma - passed[0]) / length for sigma in passed]
    weights = []
    for own in nodes:
        basis = Polynomial([1.0])
        for other in nodes:
            if other != own:
                basis *= Polynomial([-other, 1.0]) / (own - other)
        weights.append(float(basis.integ()(1.0)) * length)
    return weights
