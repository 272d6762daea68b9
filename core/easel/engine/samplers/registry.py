"""Which generator runs which sampler of `easel.values.sampling.SAMPLERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from easel.engine.samplers import adaptive, ancestral, dpm_plus, karras, lcm, linear, restart, timesteps, unipc
from easel.engine.samplers.plan import SamplingPlan
from easel.engine.samplers.protocol import NoiseSource, SamplerRun

Solver = Callable[[SamplingPlan, Tensor, NoiseSource], SamplerRun]

SOLVERS: Mapping[str, Solver] = MappingProxyType(
    {
        "DPM++ 2M": dpm_plus.dpm_plus_2m,
        "DPM++ SDE": dpm_plus.dpm_plus_sde,
        "DPM++ 2M SDE": dpm_plus.dpm_plus_2m_sde,
        "DPM++ 2M SDE Heun": dpm_plus.dpm_plus_2m_sde,
        "DPM++ 2S a": ancestral.dpm_plus_2s_ancestral,
        "DPM++ 3M SDE": dpm_plus.dpm_plus_3m_sde,
        "Euler a": ancestral.euler_ancestral,
        "Euler": karras.euler,
        "LMS": linear.lms,
        "Heun": karras.heun,
        "DPM2": karras.dpm2,
        "DPM2 a": ancestral.dpm2_ancestral,
        "DPM fast": adaptive.dpm_fast,
        "DPM adaptive": adaptive.dpm_adaptive,
        "Restart": restart.restart,
        "DDIM": timesteps.ddim,
        "DDIM CFG++": timesteps.ddim_cfg_plus,
        "PLMS": timesteps.plms,
        "UniPC": unipc.unipc,
        "LCM": lcm.lcm,
    }
)


def start(plan: SamplingPlan, x: Tensor, noise: NoiseSource) -> SamplerRun:
    """Run the plan's sampler from `x`, (1, C, h, w) float32 as `plan.start` made it, with one picture's noise."""
    return SOLVERS[plan.sampler.name](plan, x, noise)
