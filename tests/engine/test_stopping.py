"""Interrupt, skip, cancel and faults: what is returned, and that nothing stays behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from easel.errors import EaselError, JobCancelled, NotANumber


def is_empty(engine: Any) -> bool:
    turns = engine._loop._turns
    engine.compute(some_job(engine), lambda: None)  # one more turn, which sweeps
    return not turns._runs and not turns._calls


def some_job(engine: Any) -> Any:
    from easel.values.job import Job
    from easel.values.request import GenerationRequest

    return Job(id="sweeper", request=GenerationRequest())


@pytest.mark.parametrize("stop", ["interrupt", "skip"])
def test_an_interrupted_pass_returns_the_picture_so_far(engine: Any, sitting: Callable[..., Any], stop: str) -> None:
    full = sitting(steps=200)
    one = sitting(steps=200, on_step=lambda step: getattr(one.job, stop)() if step.index == 1 else None)
    picture = one.paint()[0]
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 1
    assert one.job.seconds["denoise"] < 60
    assert is_empty(engine)
    assert full.job.seconds == {}


def test_a_job_interrupted_before_it_began_still_returns_a_picture(engine: Any, sitting: Callable[..., Any]) -> None:
    one = sitting()
    plan = one.plan()
    one.job.interrupt()
    ticks = engine.counters.ticks
    assert one.engine.denoise(one.job, one.model, plan).pictures[0].shape == (1, 4, 8, 8)
    assert engine.counters.ticks == ticks


def test_cancel_while_denoising(engine: Any, sitting: Callable[..., Any]) -> None:
    one = sitting(steps=500, on_step=lambda step: one.job.cancel())
    with pytest.raises(JobCancelled):
        one.paint()
    assert is_empty(engine)


def test_cancel_before_each_call(engine: Any, sitting: Callable[..., Any]) -> None:
    one = sitting()
    plan = one.plan()
    latents = engine.denoise(one.job, one.model, plan)
    one.job.cancel()
    for call in (
        lambda: one.texts(4),
        lambda: engine.encode_pictures(one.job, one.model, [np.zeros((64, 64, 3), np.uint8)]),
        lambda: engine.denoise(one.job, one.model, plan),
        lambda: engine.decode(one.job, one.model, latents),
        lambda: engine.compute(one.job, lambda: None),
    ):
        with pytest.raises(JobCancelled):
            call()
    assert is_empty(engine)


def test_cancel_while_waiting_in_line(engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any]) -> None:
    held, release = threading.Event(), threading.Event()
    waiting = sitting()
    ran: list[int] = []

    def cancel() -> None:
        held.wait(60)
        waiting.job.cancel()
        release.set()

    def wait_in_line() -> None:
        held.wait(60)
        engine.compute(waiting.job, lambda: ran.append(1))

    block = sitting()
    results = in_threads(
        [lambda: engine.compute(block.job, lambda: (held.set(), release.wait(60))), wait_in_line, cancel]
    )
    assert ran == [] and isinstance(results[1], JobCancelled)


def test_closing_fails_what_waits_and_later_calls(
    make_engine: Callable[..., Any], sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    engine = make_engine()
    started = threading.Event()
    one = sitting(engine, steps=1000, on_step=lambda step: started.set())

    def close() -> None:
        started.wait(60)
        engine.close()

    results = in_threads([one.paint, close])
    assert isinstance(results[0], EaselError) and "closed" in str(results[0])
    with pytest.raises(EaselError, match="closed"):
        engine.compute(one.job, lambda: None)


def test_an_error_in_on_step_ends_that_pass_alone(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    def fail(step: Any) -> None:
        raise ZeroDivisionError

    results = in_threads([sitting(steps=300, on_step=fail).paint, sitting(steps=5).paint])
    assert isinstance(results[0], ZeroDivisionError)
    assert results[1][0].shape == (64, 64, 3)
    assert is_empty(engine)


def test_a_fault_in_one_jobs_function_fails_that_job_only(engine: Any, sitting: Callable[..., Any]) -> None:
    with pytest.raises(ZeroDivisionError):
        engine.compute(sitting().job, lambda: 1 // 0)
    assert sitting().paint()[0].shape == (64, 64, 3)


def break_model(engine: Any, sitting: Callable[..., Any], wrong: Callable[[torch.Tensor, torch.Tensor], None]) -> Any:
    """Let the denoiser call `wrong` with its input and context before each pass; returns what mends it."""
    model = engine.compute(sitting().job, lambda: engine._bench.checkpoint("tiny.safetensors"))

    def hook(module: Any, inputs: Any, named: Any) -> None:
        wrong(inputs[0], named["encoder_hidden_states"])

    return model.unet.register_forward_pre_hook(hook, with_kwargs=True).remove


def test_a_batch_that_fails_is_split_and_only_the_job_at_fault_fails(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    bad, others = sitting(prompt="a poisoned apple", steps=10), [sitting(steps=10, seed=n) for n in range(3)]
    plans = [one.plan() for one in (bad, *others)]
    poison = plans[0].texts.pictures[0].parts[0][1].stages[0].context
    failed: list[int] = []

    def wrong(x: torch.Tensor, context: torch.Tensor) -> None:
        if (context == poison).flatten(1).all(dim=1).any():
            failed.append(len(x))
            raise RuntimeError("poisoned")

    mend = break_model(engine, sitting, wrong)
    try:
        results = in_threads(
            [
                lambda one=one, plan=plan: engine.denoise(one.job, one.model, plan)
                for one, plan in zip((bad, *others), plans, strict=True)
            ]
        )
    finally:
        mend()
    assert str(results[0]) == "poisoned"
    assert all(len(result) == 1 for result in results[1:])
    assert failed[-1] == 2  # its own two rows, at last
    assert is_empty(engine)


def test_out_of_memory_splits_the_batch_and_goes_on(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    largest: list[int] = []

    def wrong(x: torch.Tensor, context: torch.Tensor) -> None:
        if len(x) > 1:
            raise torch.OutOfMemoryError("no memory left")
        largest.append(len(x))

    alone = sitting(seed=5).paint()[0]
    mend = break_model(engine, sitting, wrong)
    try:
        pictures = in_threads([sitting(seed=5).paint, sitting(seed=6).paint])
    finally:
        mend()
    assert np.abs(pictures[0][0].astype(int) - alone).max() <= 2
    assert set(largest) == {1}


def test_what_did_not_fit_once_is_not_tried_at_every_tick(
    engine: Any, sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    failed: list[int] = []

    def wrong(x: torch.Tensor, context: torch.Tensor) -> None:
        if len(x) > 2:
            failed.append(len(x))
            raise torch.OutOfMemoryError("no memory left")

    mend = break_model(engine, sitting, wrong)
    try:
        in_threads([sitting(seed=seed, steps=40).paint for seed in (5, 6)])
    finally:
        mend()
    assert failed == [4]


def test_not_a_number_is_an_error_not_a_black_picture(engine: Any, sitting: Callable[..., Any]) -> None:
    def wrong(x: torch.Tensor, context: torch.Tensor) -> None:
        x.fill_(float("nan"))

    mend = break_model(engine, sitting, wrong)
    one = sitting(steps=50)
    try:
        with pytest.raises(NotANumber):
            one.paint()
    finally:
        mend()
    assert engine.counters.ticks <= 2  # seen at once, not after fifty steps
    assert is_empty(engine)


def test_latents_that_are_not_numbers_are_not_decoded(engine: Any, sitting: Callable[..., Any]) -> None:
    one = sitting(steps=1)
    latents = engine.denoise(one.job, one.model, one.plan())
    spoilt = type(latents)((latents.pictures[0] * float("nan"),), 8)
    with pytest.raises(NotANumber):
        engine.decode(one.job, one.model, spoilt)


def test_a_pass_cannot_wait_for_itself(engine: Any, sitting: Callable[..., Any]) -> None:
    one = sitting()
    with pytest.raises(EaselError, match="engine's thread"):
        engine.compute(one.job, one.paint)
    assert one.paint()[0].shape == (64, 64, 3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_an_engine_that_broke(
    make_engine: Callable[..., Any], sitting: Callable[..., Any], in_threads: Callable[..., Any]
) -> None:
    engine = make_engine()
    one = sitting(engine, steps=300)
    plan = one.plan()

    def broken(staying_with: Any) -> Any:
        raise ZeroDivisionError("a fault of the loop")

    def break_it() -> None:
        while not engine.counters.ticks:
            time.sleep(0.01)
        engine._loop._turns.in_order = broken

    results = in_threads([lambda: engine.denoise(one.job, one.model, plan), break_it])
    assert isinstance(results[0], ZeroDivisionError)
    with pytest.raises(EaselError, match="closed"):
        engine.compute(one.job, lambda: None)
