"""Jobs that share the engine: their pictures, their turns, their time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from easel.engine.engine import ModelSpec
from easel.models.cache import ModelCache
from easel.values.options import Options

SAMPLERS = ["Euler", "Euler a", "DPM++ 2M", "Heun", "DDIM", "UniPC", "DPM++ SDE", "LCM"]


def random_wishes(random: Random) -> dict[str, Any]:
    words = random.sample(["fox", "snow", "[red:blue:0.5]", "a AND b :0.5", "oil", "(paint:1.3)", "tinyemb"], 3)
    return {
        "prompt": " ".join(words),
        "negative_prompt": random.choice(["", "blurry", "word, " * 40]),
        "steps": random.randint(1, 6),
        "seed": random.randint(0, 2**31),
        "cfg_scale": random.choice([1.0, 4.5, 7.0]),
        "sampler": random.choice(SAMPLERS),
        "width": random.choice([64, 96]),
        "batch_size": random.choice([1, 1, 2]),
        "model": ModelSpec(checkpoint=random.choice(["tiny", "tiny", "tiny2"])),
        "options": replace(Options(), s_min_uncond=random.choice([0.0, 3.0])),
        "user": random.choice(["ann", "bob"]),
    }


def mixed(sitting: Callable[..., Any], in_threads: Callable[..., Any], engine: Any, seed: int) -> tuple[Any, Any]:
    """The pictures of random jobs one after the other, and all at once."""
    random = Random(seed)
    jobs = [random_wishes(random) for _ in range(8)]
    serial = [sitting(engine, **wishes).paint() for wishes in jobs]
    return serial, in_threads([sitting(engine, **wishes).paint for wishes in jobs])


SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(10, 20))]


@pytest.mark.parametrize("seed", SEEDS)
def test_reproducible_pictures_are_equal_to_the_bit(
    make_engine: Callable[..., Any], sitting: Callable[..., Any], in_threads: Callable[..., Any], seed: int
) -> None:
    engine = make_engine(reproducible=True)
    serial, parallel = mixed(sitting, in_threads, engine, seed)
    for alone, among in zip(serial, parallel, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(alone, among, strict=True))
    assert engine.counters.pictures == engine.counters.ticks


@pytest.mark.parametrize("seed", SEEDS)
def test_shared_passes_change_a_picture_by_two_grey_levels_at_most(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any], seed: int
) -> None:
    serial, parallel = mixed(sitting, in_threads, engine, seed)
    for alone, among in zip(serial, parallel, strict=True):
        for a, b in zip(alone, among, strict=True):
            assert np.abs(a.astype(int) - b.astype(int)).max() <= 2
    assert engine.counters.pictures > engine.counters.ticks  # something was shared


def test_different_jobs_share_forward_passes(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    """Other prompts, seeds, samplers and steps: only the model and the sizes must agree."""
    jobs = [sitting(prompt=f"cat {n}", seed=n, steps=8 + n, sampler=SAMPLERS[n % 3]) for n in range(4)]
    plans = [one.plan() for one in jobs]
    before = engine.counters

    def hold_until_all_wait() -> None:
        while len(engine._loop._turns._calls) < len(jobs):
            time.sleep(0.01)

    holder = sitting()
    pairs = list(zip(jobs, plans, strict=True))
    in_threads(
        [
            lambda: engine.compute(holder.job, hold_until_all_wait),
            *(lambda one=one, plan=plan: engine.denoise(one.job, one.model, plan) for one, plan in pairs),
        ]
    )
    after = engine.counters
    assert (after.rows - before.rows) / (after.ticks - before.ticks) > 6  # alone it would be 2


def test_a_short_job_does_not_wait_for_a_long_one(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    done: dict[str, int] = {}
    steps: list[int] = []
    started = threading.Event()

    def long() -> None:
        sitting(steps=60, on_step=lambda step: (steps.append(step.index), started.set())).paint()

    def short() -> None:
        started.wait(60)
        sitting(steps=4, width=96).paint()  # of another shape, so it cannot ride along
        done["short"] = len(steps)

    in_threads([long, short])
    assert len(steps) == 60
    assert done["short"] < 40


def test_two_users_with_unequal_load_get_equal_service(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    """Sizes differ, so that nobody rides along with another; ann asks for three times as much as bob."""
    jobs = [
        sitting(user=user, steps=400, width=width, on_step=lambda step: None)
        for user, width in (("ann", 64), ("ann", 72), ("ann", 80), ("bob", 88))
    ]
    plans = [one.plan() for one in jobs]  # encoding is not what is measured

    def run(index: int) -> Any:
        return engine.denoise(jobs[index].job, jobs[index].model, plans[index])

    def finish() -> None:
        while engine.counters.ticks < 60:
            time.sleep(0.01)
        for one in jobs:
            one.job.interrupt()

    in_threads([*(lambda n=n: run(n) for n in range(4)), finish])
    spent = [one.job.seconds["denoise"] for one in jobs]
    assert sum(spent[:3]) == pytest.approx(spent[3], rel=0.2)
    assert max(spent[:3]) == pytest.approx(min(spent[:3]), rel=0.4)


def test_jobs_are_charged_what_the_engine_spent(engine: Any, sitting: Callable[..., Any]) -> None:
    one = sitting(steps=6)
    one.paint()
    one.engine.compute(one.job, lambda: time.sleep(0.05))
    counters, seconds = engine.counters, one.job.seconds
    assert seconds["denoise"] >= counters.tick_seconds * 0.99
    assert seconds["compute"] >= 0.05
    assert sum(seconds.values()) == pytest.approx(
        counters.tick_seconds + counters.call_seconds + counters.load_seconds, rel=0.05
    )


def test_two_models_that_do_not_fit_together_do_not_thrash(
    make_engine: Callable[..., Any], sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    """Each switch loads a checkpoint, and buys ten times what that took."""
    engine = make_engine(cache=ModelCache(limits={"checkpoint": 1}))
    jobs = [sitting(engine, steps=10, model=ModelSpec(checkpoint=name)) for name in ("tiny", "tiny2")]
    in_threads([one.paint for one in jobs])
    assert engine.counters.ticks == 20
    assert engine.counters.switches <= 8


def test_two_models_that_fit_take_turns(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    """Going to and fro costs nothing, so neither waits for the other."""
    order: list[str] = []
    jobs = [
        sitting(
            engine,
            steps=10,
            model=ModelSpec(checkpoint=name),
            on_step=lambda step, name=name: order.append(name),
        )
        for name in ("tiny", "tiny2")
    ]
    plans = [one.plan() for one in jobs]
    pairs = list(zip(jobs, plans, strict=True))
    in_threads([lambda one=one, plan=plan: engine.denoise(one.job, one.model, plan) for one, plan in pairs])
    assert max(order.index("tiny"), order.index("tiny2")) < 10
    assert engine.counters.switches > 4


def test_more_jobs_than_seats_all_end(
    make_engine: Callable[..., Any], sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    engine = make_engine(max_jobs=2)
    pictures = in_threads([sitting(engine, seed=n, steps=3).paint for n in range(5)])
    assert all(picture[0].shape == (64, 64, 3) for picture in pictures)
