"""ControlNets in the ticks, against recorded results of sd-webui-controlnet: the recorded maps are the hints.

`tests/a1111/test_golden_controls.py` has all recorded results, through the whole service.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel.engine.engine import ModelSpec
from easel.errors import BadRequest
from easel.models.cache import ModelCache
from easel.models.controlnet import load_controlnet
from easel.models.placement import Placement
from easel.values.conditioning import Control, Hold, Reference

SOFT = tuple(0.825 ** (12 - n) for n in range(13))  # "My prompt is more important"
CANNY = "control_v11p_sd15_canny"


def pixels(path: Path) -> Any:
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def controlled(one: Any, *controls: Control) -> Any:
    plan = one.plan()
    return replace(plan, conditioning=replace(plan.conditioning, controls=controls))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("c03_prompt_mode", {"soft_weights": SOFT}),
        ("c05_guidance_window", {"start": 0.25, "end": 0.75}),
        ("c14_ddim", {}),
        ("c22_long_prompt", {}),
    ],
)
def test_recorded(
    goldens: Path, tiny_data: Path, sitting: Callable[..., Any], name: str, fields: dict[str, Any]
) -> None:
    folder = goldens / "controlnet"
    body = json.loads((folder / f"{name}.request.json").read_text())["json"]
    kept = ("prompt", "negative_prompt", "steps", "width", "height", "seed", "cfg_scale")
    one = sitting(sampler=body["sampler_name"], **{key: body[key] for key in kept})
    control = Control(
        model=str(tiny_data / f"models/ControlNet/{CANNY}.safetensors"),
        hint=pixels(folder / f"{name}_1.png").astype(np.float32) / 255,
        **fields,
    )
    picture = one.engine.decode(one.job, one.model, one.engine.denoise(one.job, one.model, controlled(one, control)))[0]
    difference = np.abs(picture.astype(int) - pixels(folder / f"{name}_0.png"))
    assert difference.max() <= 2
    assert difference.mean() <= 0.05


@pytest.fixture
def control(tiny_data: Path) -> Control:
    hint = np.random.default_rng(3).random((64, 64, 3), dtype=np.float32)
    return Control(model=str(tiny_data / f"models/ControlNet/{CANNY}.safetensors"), hint=hint)


def test_jobs_with_and_without_controls_run_side_by_side(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any], control: Control
) -> None:
    def paint(seed: int, *controls: Control) -> Any:
        one = sitting(seed=seed, steps=3)
        return engine.decode(one.job, one.model, engine.denoise(one.job, one.model, controlled(one, *controls)))[0]

    other = replace(control, hint=1 - control.hint, weight=0.4, start=0.3)
    wishes = [(1,), (2, control), (3, other), (4, control, other)]
    alone = [paint(*wish) for wish in wishes]
    among = in_threads([lambda wish=wish: paint(*wish) for wish in wishes])
    for a, b in zip(alone, among, strict=True):
        assert np.abs(a.astype(int) - b.astype(int)).max() <= 2
    assert not np.array_equal(paint(2), alone[1])


def test_references_beside_each_other(engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any]) -> None:
    picture = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    upside_down = Reference(picture=picture[::-1], weight=0.4, fidelity=1.0)
    adain = Reference(picture=picture, attention=False, statistics=True)
    wishes = [
        (),
        (Reference(picture=picture),),
        (upside_down,),
        (adain,),
        (replace(adain, attention=True), upside_down),
    ]

    def paint(references: tuple[Reference, ...]) -> Any:
        one = sitting(steps=3)
        plan = one.plan()
        plan = replace(plan, conditioning=replace(plan.conditioning, references=references))
        return engine.decode(one.job, one.model, engine.denoise(one.job, one.model, plan))[0]

    alone = [paint(wish) for wish in wishes]
    among = in_threads([lambda wish=wish: paint(wish) for wish in wishes])
    for a, b in zip(alone, among, strict=True):
        assert np.abs(a.astype(int) - b.astype(int)).max() <= 2
    assert len({picture.tobytes() for picture in alone}) == len(wishes)
    assert np.abs(paint(()).astype(int) - alone[0]).max() <= 1  # the model is as it was
    outside = Reference(picture=picture, start=0.95)
    assert np.abs(paint((outside,)).astype(int) - alone[0]).max() <= 1


def test_statistics_are_brought_to_the_references(sitting: Callable[..., Any]) -> None:
    """With AdaIN in every block, a flat reference leaves little contrast."""

    def contrast(picture: Any) -> float:
        reference = Reference(picture=picture, attention=False, statistics=True, fidelity=0.0, weight=2.0)
        one = sitting(steps=6)
        plan = one.plan()
        plan = replace(plan, conditioning=replace(plan.conditioning, references=(reference,)))
        return float(one.engine.denoise(one.job, one.model, plan).pictures[0].std())

    noisy = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert contrast(np.full_like(noisy, 128)) != contrast(noisy)


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_what_is_held_stays(sitting: Callable[..., Any], sampler: str) -> None:
    """The held half of the latents ends as the picture's own; the other is painted."""
    picture = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), np.float32)
    mask[:, 40:] = 1

    def latents(*holds: Hold) -> Any:
        one = sitting(steps=4, sampler=sampler)
        plan = one.plan()
        plan = replace(plan, conditioning=replace(plan.conditioning, holds=holds))
        return one, one.engine.denoise(one.job, one.model, plan).pictures[0]

    one, held = latents(Hold(picture=picture, mask=mask))
    wanted = one.engine.encode_pictures(one.job, one.model, [picture]).pictures[0]
    free = latents()[1]
    assert (held - wanted)[..., :4].abs().max() < 0.05 * (free - wanted)[..., :4].abs().max()
    assert not np.allclose(held[..., 6:], wanted[..., 6:], atol=0.1)
    coloured = latents(Hold(picture=picture, radius=3))[1]
    assert (coloured.mean() - wanted.mean()).abs() < (free.mean() - wanted.mean()).abs()
    sharpened = latents(Hold(picture=picture, radius=3, softened=0.5))[1]
    assert not np.array_equal(coloured, sharpened)


def test_regions_and_pooling(sitting: Callable[..., Any], control: Control) -> None:
    def paint(*controls: Control) -> Any:
        one = sitting(steps=2)
        return one.engine.decode(one.job, one.model, one.engine.denoise(one.job, one.model, controlled(one, *controls)))

    ones = np.ones((64, 64), np.float32)
    free, full = paint()[0].astype(int), paint(control)[0].astype(int)
    assert np.abs(paint(replace(control, region=ones))[0] - full).max() <= 1
    assert np.abs(paint(replace(control, region=0 * ones))[0] - free).max() <= 1
    pooled = paint(replace(control, pooled=True))[0]
    assert not np.array_equal(pooled, full)
    assert not np.array_equal(pooled, free)


def test_a_map_smaller_than_the_grid_is_continued(sitting: Callable[..., Any], control: Control) -> None:
    def paint(control: Control) -> Any:
        one = sitting(steps=1)
        return one.engine.decode(one.job, one.model, one.engine.denoise(one.job, one.model, controlled(one, control)))

    hint = control.hint.copy()
    hint[:, 50:] = hint[:, 49:50]
    assert np.array_equal(paint(replace(control, hint=hint))[0], paint(replace(control, hint=hint[:, :50]))[0])


def test_on_the_positive_text_only(engine: Any, sitting: Callable[..., Any], control: Control) -> None:
    """Guided from uncontrolled to controlled: at scale 0 only the uncontrolled row counts."""

    def paint(scale: float, *controls: Control) -> Any:
        one = sitting(steps=2, cfg_scale=scale)
        return engine.decode(one.job, one.model, engine.denoise(one.job, one.model, controlled(one, *controls)))[0]

    only = replace(control, on_cond_only=True)
    assert np.abs(paint(0.0, only).astype(int) - paint(0.0)).max() <= 1
    assert not np.array_equal(paint(0.0, control), paint(0.0))
    assert not np.array_equal(paint(5.0, only), paint(5.0, control))


def test_a_control_for_another_family_fails_its_own_job_only(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any], control: Control
) -> None:
    wrong = sitting(model=ModelSpec(checkpoint="starter"), width=64, height=64)
    right = sitting(steps=3)
    plan = controlled(wrong, control)
    results = in_threads([lambda: engine.denoise(wrong.job, wrong.model, plan), right.paint])
    assert isinstance(results[0], BadRequest)
    assert "made for another family of checkpoints than starter" in results[0].message
    assert results[1][0].shape == (64, 64, 3)


def test_one_weight_per_layer(engine: Any, sitting: Callable[..., Any], control: Control) -> None:
    one = sitting(steps=1)
    with pytest.raises(BadRequest, match="advanced_weighting: one weight per layer is needed"):
        engine.denoise(one.job, one.model, controlled(one, replace(control, soft_weights=(1.0,) * 12)))


def test_a_controlnet_counts_in_the_cache(
    make_engine: Callable[..., Any], sitting: Callable[..., Any], control: Control
) -> None:
    """Room is made for it: with nothing to spare, a ControlNet that was used before goes."""
    asked: list[int] = []

    class Watched(ModelCache):
        def get(self, key: Any, load: Callable[[], Any], size: int = 0) -> Any:
            if key[0] == "controlnet":
                asked.append(size)
            return super().get(key, load, size)

    engine = make_engine(cache=Watched())
    one = sitting(engine=engine, steps=1)
    engine.denoise(one.job, one.model, controlled(one, control))
    (size,) = set(asked)
    assert size == load_controlnet(Path(control.model), Placement()).byte_size
