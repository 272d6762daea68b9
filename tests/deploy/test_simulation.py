"""The simulation against theory, against the service's own choice of workers, and against a real service."""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from easel.cli import main
from easel.deploy.simulation import DAY, Arrival, Fleet, Places, Worker, day, simulate
from easel.jobs.places import Place, choose
from easel.worker.scaling import Scale

from ..scaling.conftest import gateway

__all__ = ["gateway"]  # the fixture


def erlang_c(workers: int, load: float) -> float:
    """The share of jobs that wait, in a system M/M/c with `load` = arrivals x service time."""
    terms = [load**k / math.factorial(k) for k in range(workers)]
    last = load**workers / math.factorial(workers) * workers / (workers - load)
    return last / (sum(terms) + last)


@pytest.mark.parametrize(("workers", "load"), [(1, 0.6), (5, 3.5)])
def test_mean_wait_is_that_of_theory(workers: int, load: float) -> None:
    dice = random.Random(7)
    jobs, at = [], 0.0
    for _ in range(150_000):
        at += dice.expovariate(load)
        jobs.append(Arrival(at, "a", dice.expovariate(1.0)))
    report = simulate(jobs, Fleet(scale=Scale(workers, workers, 4, 300)))
    expected = erlang_c(workers, load) / (workers - load)
    assert report.mean_wait == pytest.approx(expected, rel=0.06)
    assert report.busy / report.alive == pytest.approx(load / workers, rel=0.02)
    assert report.throughput == pytest.approx(load, rel=0.02)


def test_jobs_go_where_the_service_would_send_them() -> None:
    dice, at_once = random.Random(3), 3
    for _ in range(500):
        places, real = Places(at_once), []
        for number in range(dice.randint(0, 6)):
            one = Worker(number, 0.0, jobs=dice.randint(0, at_once), warm=tuple(dice.sample("abc", dice.randint(0, 2))))
            places.add(one)
            worker: Any = one
            real.append(Place(worker, one.jobs, one.warm))
        found, expected = places.choose("a"), choose(real, "a", at_once)
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert (found.jobs, "a" in found.warm) == (expected.jobs, "a" in expected.warm)


def test_workers_come_and_go_as_the_scale_says() -> None:
    jobs = [Arrival(at, "a", 10.0) for at in (0.0, 0.1, 0.2, 500.0)]
    report = simulate(jobs, Fleet(scale=Scale(0, 2, 1, 60), start=5, load=2))
    assert (report.starts, report.most, report.cold, report.loads) == (3, 2, 4, 3)
    assert report.waits == pytest.approx([5.0, 5.0, 17.0 - 0.2, 5.0], abs=0.51)  # the second worker at a later look
    assert report.busy == 46.0 and report.end == pytest.approx(517, abs=0.5)
    assert report.alive == pytest.approx((17 + 60) + (27 + 60) + 17, abs=4)


def test_arrivals_follow_the_curve() -> None:
    found = list(day(20_000, (1, 3), [("a", 1, [1.0]), ("b", 3, [2.0])]))
    assert len(found) == pytest.approx(20_000, rel=0.03)
    assert sum(one.at < DAY / 2 for one in found) == pytest.approx(5_000, rel=0.05)
    assert sum(one.checkpoint == "b" for one in found) == pytest.approx(15_000, rel=0.03)
    assert all(a.at <= b.at for a, b in itertools.pairwise(found))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "measured.json"
    file.write_text('{"one": [10, 20], "two": [40]}')
    words = ["simulate", "--jobs", "5000", "--measured", str(file), "--mix", "one=1,two=1", "--price", "2"]
    fleet = ["--workers", "20", "--min-workers", "0", "--worker-gpus", "0.5"]
    assert main([*words, *fleet, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["jobs"] == pytest.approx(5000, rel=0.05) and told["workers_most"] <= 20
    assert told["gpu_hours"] == pytest.approx(told["workers_mean"] * told["days"] * 24 / 2, rel=0.01)
    assert told["cost"] == pytest.approx(told["gpu_hours"] * 2, rel=0.01)
    assert main([*words, *fleet]) == 0 and "GPU hours" in capsys.readouterr().out


@pytest.mark.parametrize("words", [
    ("--mix", "three=1"), ("--curve", "1,-1"), ("--curve", "x"), ("--measured", "nowhere.json"), ("--workers", "0"),
])  # fmt: skip
def test_wrong_words(words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "measured.json"
    file.write_text("[1, 2]")
    assert main(["simulate", "--jobs", "10", "--measured", str(file), *words]) == 2
    assert words[1].split("=")[0] in capsys.readouterr().err


@pytest.mark.long
def test_a_day_of_a_million_jobs_takes_a_minute() -> None:
    mix = [(f"model {n}", 1 / n, [20, 30, 40, 50, 60]) for n in range(1, 51)]
    begun = time.process_time()
    report = simulate(day(1e6, (1, 2, 4, 4, 3), mix), Fleet(scale=Scale(50, 1000, 1, 300), start=45, load=12))
    assert len(report.waits) == pytest.approx(1e6, rel=0.01)
    assert time.process_time() - begun < 60


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_real_service_waits_as_simulated(gateway: Callable[..., Any], tmp_path: Path) -> None:
    """Three workers of one job at a time, 80 % busy, for 120 jobs: mean wait within 25 %, throughput within 10 %."""
    one = gateway("--workers", "3", "--max-jobs-in-flight", "1", step_seconds=0.2)
    _wait(lambda: len(one.workers("idle")) == 3)
    dice, at, calls = random.Random(5), 0.0, []

    def call(steps: int) -> tuple[float, float]:
        begun = time.monotonic()
        assert one.post({"steps": steps}).status_code == 200
        return begun, time.monotonic()

    begun = time.monotonic()
    for _ in range(120):
        at += dice.expovariate(0.8 * 3 / 2.0)
        time.sleep(max(0.0, begun + at - time.monotonic()))
        steps = dice.choice((5, 10, 15))  # 1, 2 or 3 seconds
        calls.append((steps, one.threads.submit(call, steps)))
    seen = [(steps, *done.result()) for steps, done in calls]
    alone = {
        steps: min(end - start for n, start, end in seen if n == steps) for steps in (5, 10, 15)
    }  # nobody before it
    waits = [end - start - alone[steps] for steps, start, end in seen]
    jobs = [Arrival(start - begun, "starter", alone[steps]) for steps, start, _ in seen]
    report = simulate(jobs, Fleet(scale=Scale(3, 3, 4, 300)))
    told = f"waits {sum(waits) / len(waits):.2f} s, simulated {report.mean_wait:.2f} s"
    print(told)
    assert sum(waits) / len(waits) == pytest.approx(report.mean_wait, rel=0.25, abs=0.2), told
    assert len(jobs) / (max(end for _, _, end in seen) - begun) == pytest.approx(report.throughput, rel=0.1)


def _wait(happened: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
