"""What a model's output means, at any noise level and for both kinds of prediction."""

from __future__ import annotations

from math import sqrt
from typing import Literal

import pytest
import torch

from easel.engine.levels import Levels
from easel.engine.schedules import model_schedule
from easel.models.schedule import alphas_cumprod
from easel.values.options import Options


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("timestep", [1, 600, 990])
def test_the_output_gives_back_picture_and_noise(prediction: Literal["eps", "v"], timestep: int) -> None:
    torch.manual_seed(0)
    picture, noise = torch.randn(1, 4, 4, 4, dtype=torch.float64), torch.randn(1, 4, 4, 4, dtype=torch.float64)
    levels = Levels(model_schedule(alphas_cumprod(), Options()), prediction)
    alpha = levels.schedule.alpha_cumprod_of(timestep)
    x = sqrt(alpha) * picture + sqrt(1 - alpha) * noise
    output = noise if prediction == "eps" else sqrt(alpha) * noise - sqrt(1 - alpha) * picture
    found = levels.noise(output.clone(), x, timestep)
    torch.testing.assert_close(found, noise)
    torch.testing.assert_close(levels.clean(found.clone(), x, timestep), picture)
    sigma = sqrt((1 - alpha) / alpha)
    noisy = picture + sigma * noise
    torch.testing.assert_close(levels.scaled(noisy, sigma), x)
    torch.testing.assert_close(levels.denoised(output.clone(), noisy, sigma), picture)
