"""Several workers of one gateway, and none: real processes, with the fake engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from signal import SIGKILL, SIGSTOP

import psutil
import pytest

from .conftest import Gateway, until

Make = Callable[..., Gateway]
LONG = {"steps": 40}


def test_jobs_are_shared_and_a_dead_workers_jobs_are_tried_again(gateway: Make) -> None:
    one = gateway("--workers", "2", "--max-delivery", "2", "--max-jobs-in-flight", "1", step_seconds=0.05)
    until(lambda: len(one.workers("idle")) == 2)
    jobs = [one.submit(**LONG, seed=seed) for seed in range(3)]
    until(lambda: [worker["jobs"] for worker in one.workers()] == [1, 1])
    assert [one.job(job)["state"] for job in jobs] == ["running", "running", "queued"]
    until(lambda: all(one.job(job)["step"] for job in jobs[:2]))
    dead = one.workers()[0]["pid"]
    psutil.Process(dead).send_signal(SIGKILL)
    until(lambda: {one.job(job)["state"] for job in jobs} == {"done"})
    until(lambda: len(one.workers("idle")) == 2)
    assert dead not in [process.pid for process in one.processes]
    assert one.http.post("/sdapi/v1/unload-checkpoint").json() == {}  # in both, side by side

    job = one.submit(**LONG)
    until(lambda: one.job(job)["step"] > 0)
    assert one.http.post("/easel/v1/workers", json={"workers": 1}).json()["max"] == 1
    until(lambda: len(one.processes) == 1)
    assert one.job(job)["state"] in ("running", "done")  # the other one went
    until(lambda: one.job(job)["state"] == "done")
    assert one.http.post("/easel/v1/workers", json={"workers": 0}).status_code == 422


def test_a_stuck_worker_is_replaced_and_its_job_tried_again(gateway: Make) -> None:
    one = gateway("--worker-silence", "3", "--max-delivery", "2", step_seconds=0.05)
    job = one.submit(**LONG)
    until(lambda: one.job(job)["step"] > 0)
    (stuck,) = one.processes
    stuck.send_signal(SIGSTOP)
    until(lambda: one.job(job)["state"] == "done")
    assert not stuck.is_running()
    assert "it was not heard of for 3 s" in one.log.read_text()


@pytest.mark.long
def test_a_worker_whose_engine_stands_still_is_replaced(gateway: Make) -> None:
    one = gateway("--phase-deadline", "8", step_seconds=30)
    answer = one.post()
    assert (answer.status_code, answer.json()["error"]) == (503, "WorkerLost")
    assert "made no progress for 8 s" in answer.json()["detail"]


def test_serverless_begins_and_ends_without_workers(gateway: Make) -> None:
    one = gateway("--edition", "serverless", "--idle-timeout", "1", start_seconds=1)
    assert one.processes == []
    assert one.get("/sdapi/v1/sd-models")[0]["title"] == "starter"
    assert one.get("/sdapi/v1/memory")["cuda"] == {"error": "no worker runs"}
    assert one.http.post("/sdapi/v1/unload-checkpoint").status_code == 200
    assert one.get("/sdapi/v1/progress")["textinfo"] is None
    assert (one.processes, one.workers()) == ([], [])

    gone = one.submit()  # cancelled in the cold start
    kept = one.submit()
    told = one.job(gone)
    assert (told["state"], told["stage"]) == ("queued", "start")
    assert one.get("/sdapi/v1/progress")["textinfo"] == "A worker is starting"
    assert [worker["state"] for worker in one.workers()] == ["starting"]
    assert one.http.post(f"/easel/v1/jobs/{gone}/cancel").status_code == 200
    assert one.job(gone)["state"] == "cancelled"
    until(lambda: one.job(kept)["state"] == "done")
    assert one.job(kept)["cold_start"] > 1
    until(lambda: not one.processes)
    assert one.workers() == []

    job = one.submit()
    until(lambda: one.processes)
    one.processes[0].send_signal(SIGKILL)  # in the cold start
    until(lambda: one.job(job)["state"] == "done")


def test_a_request_that_meets_a_worker_on_its_way_out_is_not_lost(gateway: Make) -> None:
    rush(gateway("--edition", "serverless", "--idle-timeout", "0", "--workers", "2"), seconds=4)


@pytest.mark.long
def test_many_requests_meet_workers_on_their_way_out(gateway: Make) -> None:
    one = gateway("--edition", "serverless", "--idle-timeout", "0", "--workers", "3", "--worker-backlog", "1")
    assert rush(one, seconds=240) >= 15


def rush(one: Gateway, seconds: float) -> int:
    """Ask again as soon as an answer comes, or shortly after: workers without a job end at once. How many began."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        calls = [one.begin(seed=number + k) for k in range(1 + number % 3)]
        assert [call.result().status_code for call in calls] == [200] * len(calls)
        number += 1
        time.sleep(number % 7 * 0.05)
    until(lambda: not one.processes)
    return one.log.read_text().count("starting worker")


@pytest.mark.long
def test_workers_die_at_random_under_load(gateway: Make) -> None:
    flags = ("--workers", "3", "--min-workers", "0", "--worker-backlog", "2", "--idle-timeout", "1")
    one = gateway(*flags, "--max-delivery", "1000", step_seconds=0.02)
    jobs = [one.submit(steps=10, seed=seed) for seed in range(200)]
    for number in range(40):
        if there := one.processes:
            there[number % len(there)].send_signal(SIGKILL)
        time.sleep(1)
    until(lambda: all(one.job(job)["state"] == "done" for job in jobs), seconds=300)
    until(lambda: not one.processes)
