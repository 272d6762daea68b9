"""Noise levels against those A1111 recorded, and the options that bend them."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from easel.engine.samplers.plan import SamplingPlan, plan_sampling
from easel.engine.schedules import (
    ALIGNED_SD1,
    ALIGNED_SDXL,
    NoiseSchedule,
    ddim_timesteps,
    img2img_steps,
    lcm_schedule,
    model_schedule,
)
from easel.errors import BadRequest
from easel.values.options import Options
from easel.values.request import GenerationRequest
from easel.values.sampling import SCHEDULERS


@pytest.fixture(scope="module")
def alphas(goldens: Path) -> np.ndarray:
    """SD1's ᾱ (1000,)."""
    with np.load(goldens / "parts/conds.npz") as file:
        return file["alphas_cumprod"].astype(np.float64)


@pytest.fixture(scope="module")
def schedule(alphas: np.ndarray) -> NoiseSchedule:
    return model_schedule(alphas, Options())


def planned(alphas: np.ndarray, sampler: str, scheduler: str, steps: int, **options: object) -> SamplingPlan:
    request = GenerationRequest(options=Options(**options))  # type: ignore[arg-type]
    return plan_sampling(request, alphas, sampler=sampler, scheduler=scheduler, steps=steps)


def test_recorded_sigmas(goldens: Path, alphas: np.ndarray, schedule: NoiseSchedule) -> None:
    recorded = json.loads((goldens / "parts/sigmas.json").read_text())
    assert schedule.sigma_range == pytest.approx((recorded.pop("sigma_min"), recorded.pop("sigma_max")), rel=1e-6)
    assert {key.split("/")[0] for key in recorded} == {scheduler.label for scheduler in SCHEDULERS}
    for key, expected in recorded.items():
        label, steps = key.split("/")
        sigmas = planned(alphas, "Euler", label, int(steps)).sigmas
        assert sigmas == pytest.approx(expected, rel=3e-6), key


def test_recorded_timesteps(goldens: Path) -> None:
    recorded = json.loads((goldens / "parts/timesteps.json").read_text())
    assert {steps: list(ddim_timesteps(int(steps))) for steps in recorded} == recorded


@pytest.mark.parametrize("strength", [1e-6, 5e-324])
def test_a_schedule_that_no_memory_holds_is_refused(strength: float) -> None:
    with pytest.raises(BadRequest, match="denoising_strength: too small"):
        img2img_steps(1000, strength, exact=True)
    assert img2img_steps(1000, 0.01, exact=True) == (100_000, 999)


def test_recorded_img2img_steps(goldens: Path) -> None:
    for case in json.loads((goldens / "parts/img2img_steps.json").read_text()):
        steps, exact = (case["hr_steps"], True) if case["hr_steps"] else (case["steps"], case["fix_steps"])
        assert list(img2img_steps(steps, case["denoise"], exact=exact)) == case["result_steps_tenc"], case


def test_timestep_and_sigma_are_inverse(schedule: NoiseSchedule) -> None:
    for timestep in (0.0, 0.5, 17.0, 500.25, 999.0):
        assert schedule.timestep_of(schedule.sigma_of(timestep)) == pytest.approx(timestep, abs=1e-9)
    assert schedule.timestep_of(1e-9) == 0
    assert schedule.timestep_of(1e9) == 999


def test_quantized_timesteps_are_whole(alphas: np.ndarray, schedule: NoiseSchedule) -> None:
    quantized = model_schedule(alphas, Options(enable_quantization=True))
    sigma = schedule.sigma_of(500.25)
    assert (schedule.timestep_of(sigma), quantized.timestep_of(sigma)) == (pytest.approx(500.25), 500.0)


def test_lcm_knows_fifty_timesteps(schedule: NoiseSchedule) -> None:
    lcm = lcm_schedule(schedule)
    assert list(lcm.timesteps) == list(range(19, 1000, 20))
    assert lcm.timestep_of(schedule.sigma_of(501)) == 499
    assert lcm.sigma_range == (schedule.sigma_of(19), pytest.approx(schedule.sigma_range[1]))


def test_zero_terminal_snr(alphas: np.ndarray) -> None:
    plain, stretched = (model_schedule(alphas, Options(sd_noise_schedule=s)) for s in ("Default", "Zero Terminal SNR"))
    assert stretched.sigma_range[1] == pytest.approx(4518.76, rel=1e-5)
    assert stretched.sigma_range[0] == pytest.approx(plain.sigma_range[0])
    assert (np.diff(stretched.sigmas) > 0).all()
    halved = model_schedule(alphas, Options(use_downcasted_alpha_bar=True))
    assert halved.alphas_cumprod == pytest.approx(alphas, rel=1e-3)
    assert not np.array_equal(halved.alphas_cumprod, alphas)


def test_options_bend_the_range(alphas: np.ndarray) -> None:
    sigmas = planned(alphas, "Euler", "Karras", 9, sigma_min=0.2, sigma_max=5.0, rho=3.0).sigmas
    assert sigmas[0] == pytest.approx(5.0)
    assert sigmas[-2:] == pytest.approx((0.2, 0.0))
    assert sigmas[4] == pytest.approx(((5.0 ** (1 / 3) + 0.2 ** (1 / 3)) / 2) ** 3)
    old = planned(alphas, "Euler", "Exponential", 3, use_old_karras_scheduler_sigmas=True, rho=3.0).sigmas
    assert old == pytest.approx((10.0, 1.0, 0.1, 0.0))  # and rho is not this schedule's
    bent = planned(alphas, "Euler", "Polyexponential", 3, sigma_min=0.01, sigma_max=1.0, rho=2.0).sigmas
    assert bent == pytest.approx((1.0, 10**-1.5, 0.01, 0.0))
    even = planned(alphas, "Euler", "Beta", 3, sigma_min=1.0, sigma_max=3.0, beta_dist_alpha=1.0, beta_dist_beta=1.0)
    assert even.sigmas == pytest.approx((3.0, 2.0, 1.0, 0.0))


def test_align_your_steps_has_a_table_for_sdxl(alphas: np.ndarray) -> None:
    def sigmas(sdxl: bool) -> tuple[float, ...]:
        request = GenerationRequest()
        return plan_sampling(request, alphas, sampler="Euler", scheduler="Align Your Steps", steps=11, sdxl=sdxl).sigmas

    assert sigmas(False) == pytest.approx((*ALIGNED_SD1, 0.0))
    assert sigmas(True) == pytest.approx((*ALIGNED_SDXL, 0.0))


def test_discarding_the_last_but_one(alphas: np.ndarray) -> None:
    ten, nine = (planned(alphas, "Euler", "Karras", n).sigmas for n in (10, 9))
    assert planned(alphas, "Euler", "Karras", 9, always_discard_next_to_last_sigma=True).sigmas == ten[:-2] + ten[-1:]
    assert planned(alphas, "DPM2", "Karras", 9).sigmas == ten[:-2] + ten[-1:]
    assert planned(alphas, "DPM++ 2M", "Karras", 9).sigmas == nine


def test_too_many_steps_for_timesteps() -> None:
    for steps in (0, 1001):
        with pytest.raises(BadRequest, match=r"steps.*allowed: 1 to 1000"):
            ddim_timesteps(steps)


def test_every_rule_falls_for_every_number_of_steps(alphas: np.ndarray) -> None:
    for scheduler in SCHEDULERS:
        for steps in (1, 2, 7, 150):
            sigmas = planned(alphas, "Euler", scheduler.label, steps).sigmas
            assert all(a > b >= 0 for a, b in pairwise(sigmas)), (scheduler.label, steps)
            assert all(map(math.isfinite, sigmas))


@pytest.mark.parametrize(
    ("scheduler", "steps", "options"),
    [
        ("Karras", 5, {"sigma_min": 5.0, "sigma_max": 1.0}),
        ("Exponential", 5, {"sigma_min": 50.0}),
        ("Karras", 5, {"sigma_min": -1.0}),
        ("Karras", 5, {"rho": 1e-4}),
        ("Beta", 5, {"beta_dist_alpha": -1.0}),
        ("Simple", 1500, {}),
    ],
)
def test_levels_that_do_not_fall_are_refused(
    alphas: np.ndarray, scheduler: str, steps: int, options: dict[str, float]
) -> None:
    with pytest.raises(BadRequest, match=rf"^scheduler: .*{scheduler}, {steps} steps"):
        planned(alphas, "Euler", scheduler, steps, **options)
