"""Every family runs through the engine: SDXL's vector, velocity prediction, checkpoints that look at a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from easel.engine.engine import ModelSpec
from easel.engine.ticks import EngineOptions, TickEngine
from easel.models.cache import ModelCache
from easel.models.placement import Placement
from easel.models.store import ModelStore
from easel.values.options import Options
from easel.values.request import InitImages

from ..models import ldm_files

LEVELS = 4  # of the autoencoder, as published ones have: 8 pixels a latent
VAE = ldm_files.VAE | {
    "block_out_channels": (32,) * LEVELS,
    "down_block_types": ("DownEncoderBlock2D",) * LEVELS,
    "up_block_types": ("UpDecoderBlock2D",) * LEVELS,
}
RECIPES = {
    "sd2": ldm_files.SD2,
    "sdxl": ldm_files.SDXL,
    "refiner": ldm_files.REFINER,
    "inpaint": ldm_files.SD1_INPAINT,
    "edit": ldm_files.SD1_EDIT,
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TickEngine]:
    data = tmp_path_factory.mktemp("families")
    for name, recipe in RECIPES.items():
        ldm_files.write(data / f"models/Stable-diffusion/{name}.safetensors", replace(recipe, vae=VAE).shapes())
    engine = TickEngine(ModelStore(data, hashing=False), ModelCache(), Placement(), EngineOptions())
    yield engine
    engine.close()


def spec(name: str) -> ModelSpec:
    return ModelSpec(checkpoint=name)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_a_picture_of_every_family(sitting: Callable[..., Any], name: str, sampler: str) -> None:
    picture = sitting(model=spec(name), steps=2, sampler=sampler, negative_prompt="").paint()[0]
    assert picture.shape == (64, 64, 3) and picture.std() > 1


def test_sdxl_sees_its_sizes(engine: TickEngine, sitting: Callable[..., Any]) -> None:
    plain = sitting(model=spec("sdxl"), steps=2)
    cropped = sitting(model=spec("sdxl"), steps=2, options=replace(Options(), sdxl_crop_top=64.0))
    assert not np.array_equal(plain.paint()[0], cropped.paint()[0])


def test_sdxl_jobs_share_their_passes(
    engine: TickEngine, sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    wishes = [{"seed": 1}, {"seed": 2, "prompt": "a cat"}, {"seed": 3, "negative_prompt": ""}]
    alone = [sitting(model=spec("sdxl"), steps=3, **wish).paint()[0] for wish in wishes]
    among = in_threads([sitting(model=spec("sdxl"), steps=3, **wish).paint for wish in wishes])
    for a, (b,) in zip(alone, among, strict=True):
        assert np.abs(a.astype(int) - b.astype(int)).max() <= 2


def test_the_sdxl_refiner_takes_over_from_its_base(engine: TickEngine, sitting: Callable[..., Any]) -> None:
    one = sitting(model=spec("sdxl"), steps=4)
    texts = one.texts(4, spec("refiner"))
    refined = one.paint(refiner=spec("refiner"), refiner_texts=texts, refiner_switch_at=0.5)[0]
    assert not np.array_equal(refined, sitting(model=spec("sdxl"), steps=4).paint()[0])


def test_inpainting_checkpoints_see_mask_and_picture(engine: TickEngine, sitting: Callable[..., Any]) -> None:
    one = sitting(model=spec("inpaint"), steps=2)
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), dtype=np.float32)
    mask[:, 32:] = 1
    assert engine.facts(one.job, one.model).inpainting

    def paint(options: Options | None = None, **changes: Any) -> Any:
        chosen = {} if options is None else {"options": options}
        return sitting(model=spec("inpaint"), steps=2, **chosen).paint(**changes)[0]

    whole, half = paint(masked_pictures=(picture,)), paint(masked_pictures=(picture,), pixel_mask=mask)
    assert np.array_equal(whole, paint())  # all of it masked: grey, as without a picture
    assert not np.array_equal(half, whole)
    assert not np.array_equal(half, paint(masked_pictures=(picture,), pixel_mask=1 - mask))
    unmasked = replace(Options(), inpainting_mask_weight=0.0)
    assert not np.array_equal(half, paint(unmasked, masked_pictures=(picture,), pixel_mask=mask))


def test_editing_checkpoints_see_the_picture(engine: TickEngine, sitting: Callable[..., Any]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blind = sitting(model=spec("edit"), steps=2).paint()[0]
    looked = sitting(model=spec("edit"), steps=2).paint(masked_pictures=(picture,))[0]
    assert not np.array_equal(blind, looked)
    init = InitImages(pictures=(), image_cfg_scale=1.5)
    guided = sitting(model=spec("edit"), steps=2, init=init).paint(masked_pictures=(picture,))[0]
    assert not np.array_equal(guided, looked)
