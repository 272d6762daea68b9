"""Noise against the tensors A1111 recorded, and the Brownian path against torchsde's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchsde

from easel.engine.noise import NoiseRecipe, Philox, PictureNoise, centred
from easel.errors import UnknownName

SHAPE = (4, 8, 12)
CASES = {
    "plain": ({"seed": 1},),
    "batch": ({"seed": 1}, {"seed": 2}),
    "subseed": ({"seed": 1, "subseed": 9, "subseed_strength": 0.3},),
    "subseed1": ({"seed": 1, "subseed": 9, "subseed_strength": 1.0},),
    "resize_small": ({"seed": 1, "resize_from": (4, 8)},),
    "resize_big": ({"seed": 1, "resize_from": (16, 20)},),
    "resize_sub": ({"seed": 1, "resize_from": (8, 8), "subseed": 3, "subseed_strength": 0.5},),
    "ensd": ({"seed": 1, "seed_delta": 31337},),
}


@pytest.fixture(scope="module")
def recorded(goldens: Path) -> dict[str, np.ndarray]:
    with np.load(goldens / "parts/rng.npz") as file:
        return dict(file)


@pytest.mark.parametrize("source", ["GPU", "CPU", "NV"])
@pytest.mark.parametrize("case", CASES)
def test_first_and_later_draws(recorded: dict[str, np.ndarray], case: str, source: str) -> None:
    name = f"{case}_{'NV' if source == 'NV' else 'GPU'}"  # recorded on a machine whose compute device is the CPU
    streams = [PictureNoise(NoiseRecipe(**recipe, source=source), SHAPE) for recipe in CASES[case]]  # type: ignore[arg-type]
    for number in (1, 2, 3):
        drawn = [stream.first() if number == 1 else stream.draw() for stream in streams]
        torch.testing.assert_close(torch.cat(drawn), torch.from_numpy(recorded[f"{name}_{number}"]), atol=2e-6, rtol=0)


def test_philox(recorded: dict[str, np.ndarray]) -> None:
    stream = Philox(0)
    for name in ("first", "second"):
        np.testing.assert_allclose(stream.draw((3, 4)), recorded[f"philox_seed0_3x4_{name}"], atol=1e-6)
    np.testing.assert_allclose(Philox(12345).draw((4, 8, 8)), recorded["philox_seed12345_4x8x8"], atol=1e-6)
    beyond_32_bits = Philox(2**33 + 7).draw((4, 4, 4))
    np.testing.assert_allclose(beyond_32_bits, recorded["philox_seed_2e33_4x4x4"], atol=1e-6)


def test_philox_is_normal() -> None:
    drawn = Philox(7).draw((1_000_000,))
    assert abs(float(drawn.mean())) < 0.004
    assert abs(float(drawn.std()) - 1) < 0.004


@pytest.mark.parametrize("source", ["GPU", "CPU", "NV"])
@pytest.mark.parametrize("seed", [-1, -5, 2**40, 2**64 - 1])
def test_unusual_seeds(source: str, seed: int) -> None:
    noise = PictureNoise(NoiseRecipe(seed=seed, source=source), SHAPE)
    assert noise.first().isfinite().all()
    assert noise.brownian(0.1, 10.0)(10.0, 0.1).isfinite().all()


def test_unknown_source() -> None:
    with pytest.raises(UnknownName, match=r"randn_source.*'NV'"):
        PictureNoise(NoiseRecipe(seed=1, source="AMD"), SHAPE)


@pytest.mark.parametrize(("small", "large"), [((4, 4), (8, 8)), ((9, 9), (4, 4)), ((3, 9), (8, 4)), ((8, 4), (5, 7))])
def test_seed_resize_keeps_the_middle(small: tuple[int, int], large: tuple[int, int]) -> None:
    laid = centred(torch.ones(1, *small), torch.zeros(1, *large))
    covered = [s if s <= size else s + 2 * ((size - s) // 2) for s, size in zip(small, large, strict=True)]
    assert laid.sum() == covered[0] * covered[1]
    assert laid.shape == (1, *large)


def test_brownian_path_is_torchsdes() -> None:
    low, high, seed = 0.0291675, 14.614642, 1234
    path = PictureNoise(NoiseRecipe(seed=seed), SHAPE).brownian(low, high)
    tree = torchsde.BrownianTree(low, torch.zeros(1, *SHAPE), high, entropy=seed)
    for start, end in ((14.614642, 7.25), (7.25, 3.1), (14.614642, 3.1), (3.1, 0.5), (0.5, 0.0291675)):
        expected = -tree(end, start) / (start - end) ** 0.5
        torch.testing.assert_close(path(start, end), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("source", ["CPU", "NV"])
def test_brownian_path_depends_on_nothing_but_its_seed(source: str) -> None:
    def path(seed: int = 5) -> PictureNoise:
        return PictureNoise(NoiseRecipe(seed=seed, source=source), SHAPE)

    straight, wandering = path().brownian(0.1, 10.0), path().brownian(0.1, 10.0)
    for sigma in (9.0, 0.2, 5.5, 3.25, 8.0, 1.0):
        wandering(sigma, 0.15)
    assert torch.equal(straight(4.0, 2.0), wandering(4.0, 2.0))
    assert not torch.equal(straight(4.0, 2.0), path(6).brownian(0.1, 10.0)(4.0, 2.0))
    parts = straight(8.0, 4.0) * 2.0 + straight(4.0, 2.0) * 2**0.5
    torch.testing.assert_close(parts, straight(8.0, 2.0) * 6**0.5, atol=1e-5, rtol=0)
    torch.testing.assert_close(straight(4.0, 2.0), -straight(2.0, 4.0))


def test_brownian_increments_are_normal_and_independent() -> None:
    path = PictureNoise(NoiseRecipe(seed=3, source="CPU"), (4, 64, 64)).brownian(0.03, 14.6)
    first, second = path(14.6, 6.0), path(6.0, 1.0)
    for drawn in (first, second):
        assert abs(float(drawn.mean())) < 0.03
        assert abs(float(drawn.std()) - 1) < 0.03
    assert abs(float((first * second).mean())) < 0.03
