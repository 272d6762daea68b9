"""Latent consistency models (Luo et al. 2023, algorithm 3): jump to x0, add noise of the next level, again."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from easel.engine.samplers.plan import SamplingPlan
from easel.engine.samplers.protocol import Evaluation, NoiseSource, SamplerRun

SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0


def lcm(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """Multistep consistency sampling; the model is told one of the 50 timesteps it was distilled on."""
    for step, (sigma, after) in enumerate(pairwise(plan.sigmas)):
        timestep = plan.schedule.timestep_of(sigma)
        answer = yield Evaluation(x, sigma, step, timestep)
        # The consistency function's boundary condition: x itself at timestep 0 (section 4.1 of the paper).
        scaled = timestep * TIMESTEP_SCALING
        c_skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
        c_out = scaled / math.hypot(scaled, SIGMA_DATA)
        x = c_out * answer.value + c_skip * x
        if after > 0:
            x = x + noise.draw() * after
    return x
