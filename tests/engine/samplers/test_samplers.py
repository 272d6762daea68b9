"""Samplers on distributions whose denoiser is known exactly: do they reach the right pictures?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from easel.engine.noise import NoiseRecipe, PictureNoise
from easel.engine.samplers.plan import SamplingPlan, plan_sampling
from easel.engine.samplers.protocol import Evaluation, Prediction
from easel.engine.samplers.registry import start
from easel.errors import BadRequest, NotANumber, UnknownName
from easel.values.options import Options
from easel.values.request import GenerationRequest
from easel.values.sampling import SAMPLERS

SHAPE = (4, 32, 32)
Denoiser = Callable[[Tensor, float], Tensor]
MEAN, SPREAD = 0.7, 0.5
DETERMINISTIC = ("DPM++ 2M", "Euler", "LMS", "Heun", "DPM2", "DPM fast", "DPM adaptive", "DDIM", "PLMS", "UniPC")
STOCHASTIC = [name for name in SAMPLERS if name not in (*DETERMINISTIC, "DDIM CFG++", "LCM", "Restart")]


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """E[x0 | x] where every pixel is normal."""
    return (SPREAD**2 * x + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)


def mixture(x: Tensor, sigma: float) -> Tensor:
    """E[x0 | x] where every pixel is near -1 (a quarter of them) or near +1."""
    total = 0.1**2 + sigma**2
    right = torch.sigmoid(2 * x / total + math.log(3))
    return (0.1**2 * x + sigma**2 * (2 * right - 1)) / total


@dataclass
class Walk:
    """What a run did: its evaluations, its result, and whether anything it was shown changed later."""

    plan: SamplingPlan
    evaluations: list[Evaluation] = field(default_factory=list)
    x0: list[Tensor] = field(default_factory=list)
    result: Tensor = field(default_factory=lambda: torch.empty(0))


@pytest.fixture(scope="module")
def alphas(goldens: Path) -> np.ndarray:
    with np.load(goldens / "parts/conds.npz") as file:
        return file["alphas_cumprod"].astype(np.float64)


@pytest.fixture
def walk(alphas: np.ndarray) -> Callable[..., Walk]:
    def run(
        sampler: str,
        steps: int,
        denoiser: Denoiser = gaussian,
        *,
        scheduler: str = "Automatic",
        strength: float | None = None,
        init: Tensor | None = None,
        exact: bool = False,
        seed: int = 1,
        options: Options | None = None,
        **request: float,
    ) -> Walk:
        asked = GenerationRequest(options=options or Options(), **request)  # type: ignore[arg-type]
        plan = plan_sampling(
            asked, alphas, sampler=sampler, scheduler=scheduler, steps=steps, strength=strength, exact_steps=exact
        )
        noise = PictureNoise(NoiseRecipe(seed=seed), SHAPE)
        done = Walk(plan)
        drive(done, start(plan, plan.start(noise.first(), init), noise), denoiser)
        return done

    return run


def drive(done: Walk, run: Iterator[Evaluation], denoiser: Denoiser) -> None:
    shown: list[Tensor] = []
    try:
        evaluation = next(run)
        while True:
            done.evaluations.append(evaluation)
            shown.append(evaluation.x.clone())
            x0, eps = predict(done.plan, evaluation, denoiser)
            done.x0.append(x0)
            value = x0 if done.plan.sampler.space == "sigma" else eps
            evaluation = run.send(Prediction(value, value))  # type: ignore[attr-defined]
    except StopIteration as end:
        done.result = end.value
    for was, evaluation in zip(shown, done.evaluations, strict=True):
        assert torch.equal(was, evaluation.x), "a sampler changed a tensor it had handed out"


def predict(plan: SamplingPlan, evaluation: Evaluation, denoiser: Denoiser) -> tuple[Tensor, Tensor]:
    """x0 and eps at an evaluation of either space."""
    if plan.sampler.space == "sigma":
        x0 = denoiser(evaluation.x, evaluation.at)
        return x0, (evaluation.x - x0) / evaluation.at
    alpha, sigma = alpha_and_sigma(plan, evaluation.at)
    x0 = denoiser(evaluation.x / alpha, sigma)
    return x0, (evaluation.x / alpha - x0) / sigma


def alpha_and_sigma(plan: SamplingPlan, timestep: float) -> tuple[float, float]:
    """The factor of x0 at a timestep, and sigma; log alpha runs straight between whole timesteps."""
    logs = 0.5 * np.log(plan.schedule.alphas_cumprod)
    alpha = math.exp(np.interp(timestep, plan.schedule.timesteps, logs))
    return alpha, math.sqrt(1 - alpha**2) / alpha


def exact_end(done: Walk, steps_end: float) -> Tensor:
    """Where the ODE through the first x of a run really leads for `gaussian`, at the level sigma `steps_end`."""
    first = done.evaluations[0]
    if done.plan.sampler.space == "sigma":
        x, sigma = first.x, first.at
    else:
        alpha, sigma = alpha_and_sigma(done.plan, first.at)
        x = first.x / alpha
    shrink = math.sqrt((SPREAD**2 + steps_end**2) / (SPREAD**2 + sigma**2))
    return MEAN + (x - MEAN) * shrink


def error(done: Walk) -> float:
    """The root mean square distance from the exact end."""
    result, end = done.result, 0.0
    if done.plan.sampler.space == "timestep":
        alpha, end = alpha_and_sigma(done.plan, 0.0 if done.plan.sampler.name == "UniPC" else 1.0)
        result = result / alpha
    elif done.plan.sampler.own_range:
        end = done.plan.sigma_range[0]
    return float((result - exact_end(done, end)).square().mean().sqrt())


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_samplers_converge(walk: Callable[..., Walk], name: str) -> None:
    few, many = (error(walk(name, steps, eta=0.0)) for steps in (10, 40))
    if name == "DPM adaptive":  # picks its own steps for a tolerance of 5 %
        assert few == many < 0.02
    elif name in ("Euler", "DDIM"):
        assert many < 0.04
        assert many < few / 3
    else:
        assert many < 0.015
        assert many < few / 5


@pytest.mark.parametrize("name", [*DETERMINISTIC, *STOCHASTIC, "DDIM CFG++", "Restart", "LCM"])
def test_samples_are_from_the_mixture(walk: Callable[..., Walk], name: str) -> None:
    result = walk(name, 40, mixture).result
    if name == "LCM":  # a consistency model's answer is a sample; a mean is not: only sides and places are right
        assert (result.abs() - 1).abs().mean() < 0.1
        return
    right = float((result > 0).float().mean())
    assert right == pytest.approx(0.75, abs=0.03)
    assert float((result.abs() - 1).abs().mean()) < 0.12
    assert float(result[result > 0].std()) == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if SAMPLERS[name].uses_eta])
def test_eta_is_the_amount_of_chance(walk: Callable[..., Walk], name: str) -> None:
    def spread(eta: float) -> float:
        """How far two runs end apart that begin at the same x with different noise."""
        plan = walk(name, 12, mixture, eta=eta).plan
        x = plan.start(PictureNoise(NoiseRecipe(seed=1), SHAPE).first())
        ends = []
        for seed in (2, 3):
            done = Walk(plan)
            drive(done, start(plan, x, PictureNoise(NoiseRecipe(seed=seed), SHAPE)), mixture)
            ends.append(done.result)
        return float((ends[0] - ends[1]).abs().mean())

    assert spread(0.0) == 0.0
    assert 0.01 < spread(0.3) < spread(1.0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_are_told_and_a_run_may_stop_after_any(walk: Callable[..., Walk], name: str) -> None:
    done = walk(name, 10, mixture)
    steps = [evaluation.step for evaluation in done.evaluations]
    assert steps[0] == 0
    assert steps == sorted(steps)
    assert max(steps) < done.plan.steps
    if name != "DPM adaptive":
        calls = len(done.evaluations)
        assert calls <= done.plan.denoiser_calls + 1
        assert all(later - earlier in (0, 1) for earlier, later in pairwise(steps))
    # The picture so far becomes one: a mean of both sides first, then nearer and nearer to one of them.
    guesses = [done.x0[0], done.x0[len(done.x0) // 2], done.x0[-1]]
    off = [float((guess.abs() - 1).abs().mean()) for guess in guesses]
    assert off[0] > off[1]
    assert off[2] < 0.15
    # Dropping the generator in the middle is all it takes to stop.
    plan, noise = done.plan, PictureNoise(NoiseRecipe(seed=1), SHAPE)
    run = start(plan, plan.start(noise.first()), noise)
    assert torch.equal(next(run).x, done.evaluations[0].x)
    run.close()


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_seed_is_the_same_picture(walk: Callable[..., Walk], name: str) -> None:
    first, again, other = (walk(name, 6, mixture, seed=seed).result for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (1, *SHAPE)
    assert first.dtype == torch.float32


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps(walk: Callable[..., Walk], name: str, steps: int) -> None:
    assert walk(name, steps).result.isfinite().all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_img2img_keeps_what_its_strength_leaves(walk: Callable[..., Walk], name: str) -> None:
    init = torch.where(torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(5)) < 0.5, -1.0, 1.0)
    kept = []
    for strength in (0.15, 0.9):
        done = walk(name, 20, mixture, strength=strength, init=init)
        assert done.plan.steps == int(20 * strength) + 1
        kept.append(float((done.result.sign() == init.sign()).float().mean()))
    assert kept[0] > 0.95
    assert kept[0] > kept[1] + 0.1


@pytest.mark.parametrize("name", SAMPLERS)
def test_exact_steps_and_no_strength(walk: Callable[..., Walk], name: str) -> None:
    init = torch.full((1, *SHAPE), 0.25)
    assert walk(name, 10, strength=0.4, init=init, exact=True).plan.steps == 10
    untouched = walk(name, 10, strength=0.0, init=init, exact=True)
    assert not untouched.evaluations
    torch.testing.assert_close(untouched.result, init)


def test_churn_acts_inside_its_range(walk: Callable[..., Walk]) -> None:
    plain = walk("Euler", 10)
    for request in ({"s_churn": 5.0, "s_tmin": 20.0}, {"s_churn": 5.0, "s_tmax": 0.01}, {"s_noise": 2.0}):
        assert torch.equal(walk("Euler", 10, **request).result, plain.result)
    churned = walk("Euler", 10, s_churn=2.0, s_tmax=1.0)
    raised = [
        evaluation.at / sigma for evaluation, sigma in zip(churned.evaluations, churned.plan.sigmas, strict=False)
    ]
    assert raised == pytest.approx([1.2 if sigma <= 1.0 else 1.0 for sigma in churned.plan.sigmas[:-1]])


def test_whose_churn_counts(alphas: np.ndarray) -> None:
    def churn(sampler: str, options: Options, **request: float) -> tuple[float, float, float]:
        asked = GenerationRequest(options=options, **request)  # type: ignore[arg-type]
        found = plan_sampling(asked, alphas, sampler=sampler, steps=4).churn
        return found.s_churn, found.s_tmax, found.s_noise

    assert churn("Euler", Options()) == (0.0, math.inf, 1.0)
    assert churn("Euler", Options(), s_churn=3.0, s_tmax=0.0, s_noise=1.1) == (3.0, math.inf, 1.1)
    assert churn("Euler", Options(s_churn=5.0, s_tmax=9.0), s_churn=3.0, s_tmax=8.0) == (5.0, 9.0, 1.0)
    assert churn("DPM++ SDE", Options(), s_churn=3.0, s_noise=1.1) == (0.0, math.inf, 1.1)
    assert churn("Euler a", Options(s_noise=1.1)) == (0.0, math.inf, 1.0)


def test_whose_eta_counts(alphas: np.ndarray) -> None:
    def eta(sampler: str, asked: float | None) -> float:
        request = GenerationRequest(eta=asked, options=Options(eta_ancestral=0.8, eta_ddim=0.1))
        return plan_sampling(request, alphas, sampler=sampler, steps=4).eta

    assert (eta("Euler a", None), eta("DDIM", None), eta("Euler a", 0.0), eta("DDIM", 1.0)) == (0.8, 0.1, 0.0, 1.0)


def test_noise_multiplier_and_extra_noise(alphas: np.ndarray) -> None:
    def plan(sampler: str, strength: float | None, **options: object) -> SamplingPlan:
        request = GenerationRequest(options=Options(**options))  # type: ignore[arg-type]
        return plan_sampling(request, alphas, sampler=sampler, steps=10, strength=strength)

    sigma = plan("Euler", None).sigmas[0]
    assert plan("Euler", None).noise_scale == sigma
    assert plan("Euler", None, sgm_noise_multiplier=True).noise_scale == pytest.approx(math.sqrt(1 + sigma**2))
    assert plan("DDIM", None).noise_scale == 1.0
    for sampler in ("Euler", "DDIM"):
        without, added = plan(sampler, 0.5), plan(sampler, 0.5, img2img_extra_noise=0.2)
        assert added.noise_scale - without.noise_scale == pytest.approx(0.2 * without.init_scale)


def test_restart_goes_back_up(walk: Callable[..., Walk]) -> None:
    for steps, climbs in ((19, 0), (20, 1), (35, 1), (36, 2)):
        done = walk("Restart", steps, mixture)
        first_of_step = {evaluation.step: evaluation.at for evaluation in reversed(done.evaluations)}
        levels = [first_of_step[step] for step in sorted(first_of_step)]
        assert len(levels) == steps
        assert sum(after > before for before, after in pairwise(levels)) == climbs


def test_lcm_tells_the_model_a_distilled_timestep(walk: Callable[..., Walk]) -> None:
    timesteps = [evaluation.timestep for evaluation in walk("LCM", 5).evaluations]
    assert timesteps[0] == 999
    assert all(timestep is not None and timestep % 20 == 19 for timestep in timesteps)


@pytest.mark.parametrize("variant", ["bh1", "bh2", "vary_coeff"])
@pytest.mark.parametrize("skip", ["time_uniform", "time_quadratic", "logSNR"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_variants_converge(walk: Callable[..., Walk], variant: str, skip: str, order: int) -> None:
    options = Options(uni_pc_variant=variant, uni_pc_skip_type=skip, uni_pc_order=order)
    few, many = (error(walk("UniPC", steps, options=options)) for steps in (10, 40))
    assert many < 0.025
    assert many < few


def test_unipc_refuses_unknown_options(walk: Callable[..., Walk]) -> None:
    with pytest.raises(UnknownName, match="uni_pc_variant"):
        walk("UniPC", 5, options=Options(uni_pc_variant="bh3"))
    with pytest.raises(UnknownName, match="uni_pc_skip_type"):
        walk("UniPC", 5, options=Options(uni_pc_skip_type="time"))


def test_cfg_plus_goes_back_along_the_negative(alphas: np.ndarray) -> None:
    plan = plan_sampling(GenerationRequest(), alphas, sampler="DDIM CFG++", steps=10)
    assert plan.sampler.guidance_factor == pytest.approx(0.08)
    noise = PictureNoise(NoiseRecipe(seed=1), SHAPE)
    run = start(plan, plan.start(noise.first()), noise)
    first = next(run)
    value, uncond = torch.full_like(first.x, 0.5), torch.full_like(first.x, -0.25)
    second = run.send(Prediction(value, uncond))
    here, there = (plan.schedule.alphas_cumprod[int(one.at)] for one in (first, second))
    x0 = (first.x - math.sqrt(1 - here) * value) / math.sqrt(here)
    torch.testing.assert_close(second.x, math.sqrt(there) * x0 + math.sqrt(1 - there) * uncond)


def test_adaptive_does_not_hang_on_nan(walk: Callable[..., Walk]) -> None:
    with pytest.raises(NotANumber):
        walk("DPM adaptive", 5, lambda x, sigma: x * math.nan)


def test_bad_steps(alphas: np.ndarray) -> None:
    with pytest.raises(BadRequest, match=r"^steps: "):
        plan_sampling(GenerationRequest(), alphas, sampler="Euler", steps=0)
    with pytest.raises(BadRequest, match=r"^steps: .*1000"):
        plan_sampling(GenerationRequest(), alphas, sampler="DDIM", steps=1001)


def test_bad_amounts(alphas: np.ndarray) -> None:
    for eta in (-0.1, math.nan, math.inf):
        with pytest.raises(BadRequest, match=r"^eta: "):
            plan_sampling(GenerationRequest(eta=eta), alphas, sampler="Euler a", steps=5)
    with pytest.raises(BadRequest, match=r"^eta_ddim: "):
        plan_sampling(GenerationRequest(options=Options(eta_ddim=-1.0)), alphas, sampler="DDIM", steps=5)
    for strength in (-0.5, math.nan):
        with pytest.raises(BadRequest, match=r"^denoising_strength: "):
            plan_sampling(GenerationRequest(), alphas, sampler="Euler", steps=5, strength=strength)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("eta", [0.0, 3.0])
def test_large_and_no_eta(walk: Callable[..., Walk], name: str, eta: float) -> None:
    assert walk(name, 6, mixture, eta=eta).result.isfinite().all()
