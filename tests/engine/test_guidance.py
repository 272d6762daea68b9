"""What an evaluation asks for and how the answers are put together, against the formulas."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch

from easel.engine.guidance import Guidance
from easel.engine.latents import Blend, LatentBatch, crop, resize
from easel.engine.levels import Levels
from easel.engine.schedules import NoiseSchedule
from easel.errors import BadRequest
from easel.models.schedule import alphas_cumprod
from easel.values.request import InitImages


def levels(prediction: str) -> Levels:
    alphas = alphas_cumprod().double().numpy()
    return Levels(NoiseSchedule(np.arange(1000.0), alphas), prediction)  # type: ignore[arg-type]


def test_and_composition_is_a_weighted_sum_of_directions() -> None:
    a, b, none = (torch.randn(1, 4, 2, 2) for _ in range(3))
    guided, base = Guidance(scale=5.0, calls=10).combine([(1.0, a), (-0.5, b)], none)
    torch.testing.assert_close(guided, none + 5.0 * (a - none) - 2.5 * (b - none))
    assert base is none


def test_without_a_negative_a_single_part_is_itself() -> None:
    part = torch.randn(1, 4, 2, 2)
    guided, base = Guidance(scale=7.0, calls=10).combine([(1.0, part)], None)
    assert guided is part and base is part


def test_without_a_negative_other_parts_are_added_unscaled() -> None:
    a, b = (torch.randn(1, 4, 2, 2) for _ in range(2))
    guided, base = Guidance(scale=7.0, calls=10).combine([(0.5, a), (0.6, b)], None)
    torch.testing.assert_close(guided, a + 0.6 * (b - a))
    assert base is a


def test_a_picture_to_edit_guides_as_published() -> None:
    both, picture, none = (torch.randn(1, 4, 2, 2) for _ in range(3))
    guided, _ = Guidance(scale=7.0, calls=10, picture_scale=1.5).combine([(1.0, both)], picture, none)
    torch.testing.assert_close(guided, none + 1.5 * (picture - none) + 7.0 * (both - picture))


def test_scale_one_still_looks_at_the_negative() -> None:
    assert Guidance(scale=1.0, calls=10).needs_negative(0, 14.0)


@pytest.mark.parametrize(
    ("call", "at", "every", "needed"),
    [(0, 1.0, False, True), (1, 1.0, False, False), (1, 3.0, False, True), (0, 1.0, True, False)],
)
def test_below_the_floor_the_negative_is_left_out(call: int, at: float, every: bool, needed: bool) -> None:
    assert Guidance(scale=7, calls=10, floor=2.0, floor_every_call=every).needs_negative(call, at) is needed


def test_early_calls_go_without_the_negative() -> None:
    guidance = Guidance(scale=7, calls=10, skip_early=0.3)
    assert [guidance.needs_negative(call, 1.0) for call in range(6)] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("timestep", [0, 500, 999])
def test_a_perfect_model_is_read_right_in_both_spaces(prediction: str, timestep: int) -> None:
    """A model that knows x0 and the noise must lead back to both."""
    this = levels(prediction)
    alpha = this.schedule.alpha_cumprod_of(timestep)
    sigma = sqrt((1 - alpha) / alpha)
    x0, noise = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    output = noise if prediction == "eps" else sqrt(alpha) * noise - sqrt(1 - alpha) * x0
    x_t = sqrt(alpha) * x0 + sqrt(1 - alpha) * noise
    torch.testing.assert_close(this.scaled(x0 + sigma * noise, sigma), x_t, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(this.denoised(output, x0 + sigma * noise, sigma), x0, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(this.noise(output, x_t, timestep), noise, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(this.clean(noise, x_t, timestep), x0, atol=1e-4, rtol=1e-3)


def test_progress_runs_from_nothing_to_almost_one() -> None:
    sigmas = levels("eps").schedule.sigmas
    assert levels("eps").progress(float(sigmas[-1])) == 0
    assert levels("eps").progress(float(sigmas[499])) == 0.5
    assert levels("eps").progress(0.0) == 0.999


def test_a_blend_keeps_what_is_protected() -> None:
    repaint = torch.tensor([[[[1.0, 0.0, 0.25]]]])
    start, x = torch.full((1, 4, 1, 3), 8.0), torch.full((1, 4, 1, 3), 4.0)
    assert Blend.of(repaint, start)(x, None)[0, 0, 0].tolist() == [4.0, 8.0, 7.0]


def test_latents_are_resized_and_cropped() -> None:
    batch = LatentBatch((torch.arange(12.0).view(1, 1, 3, 4),), 8)
    assert resize(batch, "nearest-exact", 64, 48).pictures[0].shape == (1, 1, 6, 8)
    assert resize(batch, "bicubic-antialiased", 16, 16).pictures[0].shape == (1, 1, 2, 2)
    assert crop(batch, 1, 0, 2, 1).pictures[0].tolist() == [[[[1.0], [5.0]]]]
    with pytest.raises(BadRequest, match="nearest-exact"):
        resize(batch, "lanczos", 64, 48)


def test_guidance_by_a_picture_that_nothing_edits_is_reported(sitting: Callable[..., Any]) -> None:
    one = sitting(steps=1, init=InitImages(pictures=(), image_cfg_scale=1.5))
    one.paint()
    assert [(line.item, line.outcome) for line in one.job.report] == [("image_cfg_scale", "ignored")]
