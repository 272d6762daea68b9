"""What a pass will do, worked out before it starts: sampler, noise levels, and every number the solver needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from easel.engine import schedules
from easel.engine.schedules import NoiseSchedule, SigmaRange, img2img_steps
from easel.errors import BadRequest
from easel.values.options import Options
from easel.values.request import GenerationRequest
from easel.values.sampling import Sampler, find_sampler, scheduler_that_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """Fresh noise in the midst of sampling (Karras et al. 2022), under A1111's names: how much, between which sigmas.

    `s_noise` scales the fresh noise of the ancestral and SDE samplers too.
    """

    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = math.inf
    s_noise: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SamplingPlan:
    """One pass of one sampler.

    A sigma sampler visits `sigmas`, falling, usually ending in 0; a timestep sampler `timesteps`, rising. `steps` is
    what progress counts to. The first x is `start(noise, init)`.
    """

    sampler: Sampler
    schedule: NoiseSchedule
    sdxl: bool = False
    steps: int
    sigmas: tuple[float, ...] = ()
    timesteps: tuple[int, ...] = ()
    sigma_range: tuple[float, float] = (0.0, 0.0)  # of the whole schedule, also where img2img runs only its end
    init_scale: float = 0.0  # x = init · init_scale + noise · noise_scale
    noise_scale: float = 1.0
    img2img: bool = False
    eta: float = 1.0
    churn: Churn = Churn()
    options: Options = field(default_factory=Options)

    @property
    def denoiser_calls(self) -> int:
        """What prompt schedules and "skip early CFG" count to."""
        return self.sampler.denoiser_calls(self.steps)

    def start(self, noise: Tensor, init: Tensor | None = None) -> Tensor:
        """The first x from unit noise and, in img2img, the start picture's latents; all (1, C, h, w)."""
        x = noise * self.noise_scale
        return x if init is None else x + init * self.init_scale


def plan_sampling(
    request: GenerationRequest,
    alphas_cumprod: NDArray[np.float64],
    *,
    sampler: str,
    scheduler: str = "Automatic",
    steps: int,
    strength: float | None = None,
    exact_steps: bool = False,
    sdxl: bool = False,
) -> SamplingPlan:
    """Work out a pass. `alphas_cumprod`: the model's (1000,); `strength`: None for txt2img, else img2img's 0…1.

    `exact_steps`: all `steps` run whatever the strength (hires pass, or option `img2img_fix_steps`).
    Errors: UnknownName, BadRequest (steps a sampler cannot do).
    """
    if steps < 1:
        raise BadRequest("a pass needs at least one step", field="steps", value=steps, allowed="1 or more")
    if strength is not None and not strength >= 0:
        raise BadRequest("not a share", field="denoising_strength", value=strength, allowed="0 to 1")
    found, label = find_sampler(sampler, scheduler)
    model = schedules.model_schedule(alphas_cumprod, request.options)
    plan = SamplingPlan(
        sampler=found,
        schedule=schedules.lcm_schedule(model) if found.name == "LCM" else model,
        sdxl=sdxl,
        steps=steps,
        eta=_eta(request, found),
        churn=_churn(request, found),
        options=request.options,
    )
    levels = _sigma_levels if found.space == "sigma" else _timestep_levels
    return levels(plan, label, request.options, strength, exact_steps or request.options.img2img_fix_steps)


def _eta(request: GenerationRequest, sampler: Sampler) -> float:
    name = "eta_ancestral" if sampler.space == "sigma" else "eta_ddim"
    field, eta = ("eta", request.eta) if request.eta is not None else (name, float(getattr(request.options, name)))
    if not 0 <= eta < math.inf:
        raise BadRequest("not an amount of noise", field=field, value=eta, allowed="0 or more")
    return eta


def _churn(request: GenerationRequest, sampler: Sampler) -> Churn:
    """The s_* values the sampler listens to; an option that was changed wins over the request, as in A1111."""
    chosen: dict[str, float] = {}
    for name in sampler.takes:
        option, asked = getattr(request.options, name), getattr(request, name)
        chosen[name] = asked if asked is not None and option == getattr(Options(), name) else option
    if chosen.get("s_tmax") == 0:
        chosen["s_tmax"] = math.inf
    return Churn(**chosen)


def _sigma_levels(
    plan: SamplingPlan, label: str, options: Options, strength: float | None, exact: bool
) -> SamplingPlan:
    total, last = (plan.steps, plan.steps - 1) if strength is None else img2img_steps(plan.steps, strength, exact=exact)
    sigmas = make_sigmas(plan, label, options, total)
    positive = [sigma for sigma in sigmas if sigma > 0] or [0.0]
    plan = replace(plan, sigma_range=(min(positive), max(positive)))
    if strength is None:
        span = plan.schedule.sigma_range if plan.sampler.own_range else plan.sigma_range
        scale = math.hypot(1.0, sigmas[0]) if options.sgm_noise_multiplier else sigmas[0]
        return replace(plan, sigmas=sigmas, sigma_range=span, noise_scale=scale)
    sigmas = sigmas[max(total - last - 1, 0) :]
    if plan.sampler.own_range and len(sigmas) > 1:
        plan = replace(plan, sigma_range=(sigmas[-2], sigmas[0]))
    return replace(
        plan,
        steps=last + 1,
        sigmas=sigmas,
        img2img=True,
        init_scale=1.0,
        noise_scale=sigmas[0] + options.img2img_extra_noise,
    )


def _timestep_levels(
    plan: SamplingPlan, label: str, options: Options, strength: float | None, exact: bool
) -> SamplingPlan:
    extra = 1 if options.always_discard_next_to_last_sigma else 0
    if strength is None:
        return replace(plan, timesteps=schedules.ddim_timesteps(plan.steps + extra))
    total, last = img2img_steps(plan.steps, strength, exact=exact)
    if total == 0:
        return replace(plan, img2img=True, init_scale=1.0, noise_scale=0.0)
    timesteps = schedules.ddim_timesteps(total + extra)
    alpha = plan.schedule.alpha_cumprod_of(timesteps[last])
    return replace(
        plan,
        steps=last + 1,
        timesteps=timesteps[:last],
        img2img=True,
        init_scale=math.sqrt(alpha),
        noise_scale=math.sqrt(1 - alpha) + options.img2img_extra_noise * math.sqrt(alpha),
    )


def make_sigmas(plan: SamplingPlan, label: str, options: Options, steps: int) -> tuple[float, ...]:
    """The falling sigmas of `steps` steps by the schedule `label` names; (0.0,) for none."""
    if steps < 1:
        return (0.0,)
    scheduler = scheduler_that_runs(plan.sampler, label)
    low, high = (0.1, 10.0) if options.use_old_karras_scheduler_sigmas else plan.schedule.sigma_range
    span = SigmaRange(
        schedule=plan.schedule,
        low=options.sigma_min or low,
        high=options.sigma_max or high,
        rho=options.rho if scheduler.default_rho != -1 else 0.0,
        beta=(options.beta_dist_alpha, options.beta_dist_beta),
        sdxl=plan.sdxl,
    )
    discard = options.always_discard_next_to_last_sigma or plan.sampler.discard_next_to_last_sigma
    with np.errstate(all="ignore"):  # what overflows is refused below
        levels = schedules.RULES[scheduler.name](steps + discard, span) if 0 < span.low < span.high else np.zeros(2)
    sigmas: list[float] = levels.astype(np.float32).tolist()
    if not all(before > after >= 0 for before, after in pairwise(sigmas)):
        raise BadRequest(
            "the noise levels do not fall; see steps and the options sigma_min, sigma_max, rho, beta_dist_*",
            field="scheduler",
            value=f"{scheduler.label}, {steps} steps from {span.high:g} to {span.low:g}",
        )
    return tuple(sigmas[:-2] + sigmas[-1:] if discard else sigmas)
