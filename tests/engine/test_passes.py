"""Masks, refiner, previews and what a checkpoint is: through the engine's calls."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from easel.engine.engine import ModelSpec
from easel.engine.ticks import TickEngine
from easel.errors import BadRequest, ModelError, UnknownName
from easel.models.cache import ModelCache
from easel.models.placement import Placement
from easel.models.store import ModelStore
from easel.values.conditioning import LatentMask
from easel.values.options import Options


@pytest.mark.parametrize("sampler", ["Euler", "DDIM", "DPM++ 2M"])
@pytest.mark.parametrize("fill", [1, 2, 3])
def test_what_a_mask_protects_stays_as_it_was(
    engine: Any, sitting: Callable[..., Any], half_mask: LatentMask, sampler: str, fill: int
) -> None:
    one = sitting(kind="img2img", sampler=sampler)
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    init = engine.encode_pictures(one.job, one.model, [picture])
    plan = one.plan(init=init, denoising_strength=0.7, fill=fill)
    plan = replace(plan, conditioning=replace(plan.conditioning, mask=half_mask))
    painted = engine.denoise(one.job, one.model, plan).pictures[0]
    torch.testing.assert_close(painted[..., :4], init.pictures[0][..., :4])
    assert (painted[..., 4:] - init.pictures[0][..., 4:]).abs().max() > 0.1


@pytest.mark.parametrize(("sampler", "changes"), [("DDIM", False), ("Euler", True)])
def test_strength_zero(engine: Any, sitting: Callable[..., Any], sampler: str, changes: bool) -> None:
    """A1111's sigma samplers still do one step then, its timestep samplers none."""
    one = sitting(kind="img2img", sampler=sampler)
    init = engine.encode_pictures(one.job, one.model, [np.full((64, 64, 3), 99, np.uint8)])
    before = engine.counters.ticks
    latents = engine.denoise(one.job, one.model, one.plan(init=init, denoising_strength=0.0))
    assert latents.pictures[0].shape == (1, 4, 8, 8)
    assert engine.counters.ticks - before == int(changes)


def test_fill_seed_decides_the_filled_noise(engine: Any, sitting: Callable[..., Any], half_mask: LatentMask) -> None:
    one = sitting(kind="img2img", steps=1)
    init = engine.encode_pictures(one.job, one.model, [np.zeros((64, 64, 3), np.uint8)])
    plan = one.plan(init=init, denoising_strength=0.5, fill=2)
    plan = replace(plan, conditioning=replace(plan.conditioning, mask=half_mask))
    other = replace(plan, pictures=(replace(plan.pictures[0], fill_seed=99),))
    same = replace(plan, pictures=(replace(plan.pictures[0], fill_seed=plan.pictures[0].seed),))
    first, second, third = (engine.denoise(one.job, one.model, p).pictures[0] for p in (plan, other, same))
    assert torch.equal(first, third) and not torch.equal(first, second)


def test_equal_pictures_are_encoded_once(engine: Any, sitting: Callable[..., Any]) -> None:
    one = sitting()
    picture = np.zeros((64, 64, 3), np.uint8)
    encoded = engine.encode_pictures(one.job, one.model, [picture, picture, picture.copy()])
    assert encoded.pictures[0] is encoded.pictures[1] and encoded.pictures[0] is not encoded.pictures[2]


def switching(sitting: Callable[..., Any], at: float, **wishes: Any) -> Any:
    one = sitting(steps=4, **wishes)
    refiner = ModelSpec(checkpoint="tiny2.safetensors")
    texts = one.texts(4, refiner)
    return one.paint(refiner=refiner, refiner_texts=texts, refiner_switch_at=at)[0]


def test_the_refiner_takes_over_in_mid_run(engine: Any, sitting: Callable[..., Any]) -> None:
    """From the start it is as if it had been asked alone, its autoencoder included; at the end it changes nothing."""
    base = sitting(steps=4).paint()[0]
    second = sitting(steps=4, model=ModelSpec(checkpoint="tiny2.safetensors")).paint()[0]
    assert np.array_equal(switching(sitting, 1.0), base)
    assert np.array_equal(switching(sitting, 0.0), second)
    halfway = switching(sitting, 0.5)
    assert not np.array_equal(halfway, base) and not np.array_equal(halfway, second)


def test_the_refiner_switches_by_calls_when_asked(engine: Any, sitting: Callable[..., Any]) -> None:
    options = replace(Options(), refiner_switch_by_sample_steps=True)
    seen: list[tuple[int, str]] = []
    one = sitting(steps=4, options=options)
    refiner = ModelSpec(checkpoint="tiny2.safetensors")
    texts = one.texts(4, refiner)
    use = engine._bench.use
    engine._bench.use = lambda weights: (seen.append((engine.counters.ticks, weights.checkpoint)), use(weights))[1]
    one.paint(refiner=refiner, refiner_texts=texts, refiner_switch_at=0.5)
    names = dict(seen)
    assert [Path(names[tick]).stem for tick in range(4)] == ["tiny", "tiny", "tiny2", "tiny2"]


def test_steps_and_previews(engine: Any, sitting: Callable[..., Any]) -> None:
    steps: list[Any] = []
    one = sitting(steps=3, batch_size=2, sampler="Heun", on_step=steps.append)
    pictures = one.paint()
    assert [(step.index, step.total, step.stage) for step in steps] == [
        (0, 3, "first"),
        (1, 3, "first"),
        (2, 3, "first"),
    ]
    cheap, full = steps[1].preview("cheap"), steps[-1].preview("full")
    assert [picture.shape for picture in cheap] == [(8, 8, 3)] * 2
    assert all(np.array_equal(a, b) for a, b in zip(full, pictures, strict=True))
    with pytest.raises(BadRequest, match="cheap, full"):
        steps[0].preview("best")


def test_cheap_previews_look_like_the_picture(engine: Any, sitting: Callable[..., Any]) -> None:
    """On the starter, whose colours are fitted: the mean colour of each cell is near that of its pixels."""
    steps: list[Any] = []
    one = sitting(
        prompt="a red apple",
        steps=6,
        width=256,
        height=256,
        model=ModelSpec(checkpoint="starter"),
        on_step=steps.append,
    )
    picture = one.paint(width=256, height=256)[0]
    cells = picture.reshape(8, 32, 8, 32, 3).mean(axis=(1, 3))
    error = np.abs(cells - steps[-1].preview("cheap")[0])
    assert error.mean() < 40


def test_facts(engine: Any, sitting: Callable[..., Any]) -> None:
    one = sitting()
    facts = engine.facts(one.job, ModelSpec(checkpoint="tiny", vae="othervae.safetensors"))
    assert (facts.title, facts.family, facts.pixels_per_latent) == ("tiny.safetensors", "SD1", 8)
    assert facts.vae_name == "othervae.safetensors" and not facts.inpainting
    with pytest.raises(UnknownName, match="tiny2"):
        engine.facts(one.job, ModelSpec(checkpoint="tiny3"))
    with pytest.raises(UnknownName, match="othervae"):
        engine.facts(one.job, ModelSpec(checkpoint="tiny", vae="nothing"))


def test_sizes_off_the_grid_are_refused(engine: Any, sitting: Callable[..., Any]) -> None:
    one = sitting()
    with pytest.raises(BadRequest, match="multiples of 8"):
        engine.denoise(one.job, one.model, one.plan(width=60))


def test_a_file_that_goes_away(
    tiny_data: Path, tmp_path: Path, sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    """What is loaded goes on; what is not fails with the file's name alone."""
    folder = tmp_path / "models/Stable-diffusion"
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        shutil.copy(tiny_data / "models/Stable-diffusion/tiny.safetensors", folder / f"{name}.safetensors")
    store = ModelStore(tmp_path, hashing=False)
    assert len(store.checkpoints()) == 2
    engine = TickEngine(store, ModelCache(), Placement())
    try:
        one, two = (sitting(engine, steps=1, model=ModelSpec(checkpoint=name)) for name in ("one", "two"))
        one.paint()
        shutil.rmtree(folder)
        assert one.paint()[0].shape == (64, 64, 3)
        with pytest.raises(ModelError, match=r"^two\.safetensors: the file cannot be read") as caught:
            two.paint()
        assert str(tmp_path) not in caught.value.message
    finally:
        engine.close()
