"""The engine without models behaves like one, as far as what stands above it can tell."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from easel.engine.engine import ModelSpec
from easel.engine.fake_engine import FakeEngine
from easel.errors import BadRequest, EaselError, JobCancelled, UnknownName
from easel.values.conditioning import LatentMask


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def one(fake: FakeEngine, sitting: Callable[..., Any]) -> Any:
    return sitting(fake, model=ModelSpec(checkpoint="fake"))


def test_it_does_not_import_torch() -> None:
    code = "import sys, easel.engine.fake_engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_same_request_same_picture_other_request_other_picture(fake: FakeEngine, sitting: Callable[..., Any]) -> None:
    def paint(**wishes: Any) -> Any:
        return sitting(fake, model=ModelSpec(checkpoint="fake"), **wishes).paint()[0]

    first = paint()
    assert first.shape == (64, 64, 3) and first.dtype == np.uint8
    assert np.array_equal(first, paint())
    for change in ({"seed": 2}, {"prompt": "a cat"}, {"negative_prompt": ""}, {"steps": 5}, {"cfg_scale": 1.0}):
        assert not np.array_equal(first, paint(**change))


def test_it_records_its_calls(fake: FakeEngine, one: Any) -> None:
    one.paint()
    assert [call.method for call in fake.calls] == ["encode_prompts", "denoise", "decode"]
    assert fake.called("encode_prompts")[0].arguments["positive"] == (one.request.prompt,)
    assert fake.called("denoise")[0].arguments["plan"].steps == 4
    assert {call.job for call in fake.calls} == {one.job.id}


def test_steps_previews_and_stops(fake: FakeEngine, one: Any) -> None:
    steps: list[Any] = []

    def on_step(step: Any) -> None:
        steps.append(step)
        if step.index == 1:
            one.job.interrupt()

    one.on_step = on_step
    one.paint()
    assert [(step.index, step.total, step.stage) for step in steps] == [(0, 4, "first"), (1, 4, "first")]
    assert steps[0].preview("cheap")[0].shape == (8, 8, 3)
    one.job.cancel()
    with pytest.raises(JobCancelled):
        one.paint()


def test_img2img_stays_near_its_start_and_a_mask_protects(fake: FakeEngine, one: Any, half_mask: LatentMask) -> None:
    start = np.full((64, 64, 3), 200, dtype=np.uint8)
    init = fake.encode_pictures(one.job, one.model, [start])
    plan = one.plan(init=init, denoising_strength=0.5)
    masked = replace(plan, conditioning=replace(plan.conditioning, mask=half_mask))
    free, kept = (fake.decode(one.job, one.model, fake.denoise(one.job, one.model, p))[0] for p in (plan, masked))
    assert np.abs(kept[:, :32].astype(int) - 200).max() <= 1
    assert np.array_equal(kept[:, 32:], free[:, 32:])
    assert np.abs(free.astype(int) - 200).max() < 140


def test_latents_are_resized_and_cropped(fake: FakeEngine, one: Any) -> None:
    latents = fake.denoise(one.job, one.model, one.plan())
    large = fake.resize_latents(one.job, latents, "bicubic", 128, 96)
    assert fake.decode(one.job, one.model, large)[0].shape == (96, 128, 3)
    cropped = fake.crop_latents(one.job, large, 1, 2, 3, 4)
    assert fake.decode(one.job, one.model, cropped)[0].shape == (48, 96, 3)
    with pytest.raises(BadRequest, match="nearest-exact"):
        fake.resize_latents(one.job, latents, "lanczos", 128, 96)


def test_unknown_models_and_a_closed_engine(fake: FakeEngine, one: Any) -> None:
    assert fake.facts(one.job, ModelSpec(checkpoint="0123456789")).name == "fake"
    with pytest.raises(UnknownName, match="fake"):
        fake.facts(one.job, ModelSpec(checkpoint="other"))
    fake.close()
    with pytest.raises(EaselError, match="closed"):
        one.paint()


def test_compute_runs_and_is_charged(fake: FakeEngine, one: Any) -> None:
    assert fake.compute(one.job, lambda: 7) == 7
    assert "compute" in one.job.seconds
