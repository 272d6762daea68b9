"""Workers as replicas of a real Ray cluster, tasks in a real Redis: all of it started, and ended, by this module.

The cluster takes a minute to start on a busy machine, so all tests share one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from easel.bench.redis_server import RedisServer

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
STEP = 0.1
SMALL = {"prompt": "a cat", "width": 64, "height": 64, "seed": 1}
FLAGS = ("--edition", "api", "--workers", "2", "--min-workers", "0", "--idle-timeout", "20", "--worker-backlog", "2")
LIMITS = ("--worker-threads", "4", "--max-delivery", "3", "--worker-cpus", "0.5", "--max-jobs-in-flight", "4")


class Cluster:
    """A gateway with a Ray cluster of its own."""

    def __init__(self, folder: Path, redis: str, checkpoint: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder, self.log = folder, folder.with_suffix(".log")
        checkpoints = folder / "models" / "Stable-diffusion"
        checkpoints.mkdir(parents=True)
        for name in ("one", "two"):
            (checkpoints / f"{name}.safetensors").symlink_to(checkpoint)
        script = str(Path(__file__).with_name("service.py"))
        command = [sys.executable, script, "--data-dir", str(folder), "--port", str(port), "--queue-url", redis]
        with self.log.open("ab") as log:
            environment = os.environ | {"STEP_SECONDS": str(STEP)}
            self.process = subprocess.Popen([*command, *FLAGS, *LIMITS], stdout=log, stderr=log, env=environment)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        until(self._answers, 300)
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/internal/ping").status_code == 200
        except httpx.HTTPError:
            return False

    def end(self) -> None:
        """Stop it; whatever it started is gone afterwards."""
        family = {*self.family, *psutil.Process(self.process.pid).children(recursive=True)}
        self.process.terminate()
        try:
            self.process.wait(120)
        finally:
            left = psutil.wait_procs(family, timeout=60)[1]
            names = [" ".join(one.cmdline())[:80] for one in left]
            for one in left:
                one.kill()
            self.process.kill()
            self.http.close()
        assert not names

    def submit(self, **body: Any) -> str:
        """A job that nobody waits for."""
        answer = self.http.post("/sdapi/v1/txt2img", json=SMALL | body, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/easel/v1/jobs/{name}").json()
        return found

    def workers(self, state: str = "") -> list[dict[str, Any]]:
        found = self.http.get("/easel/v1/workers").json()["workers"]
        return [one for one in found if state in ("", one["state"])]

    @property
    def processes(self) -> list[psutil.Process]:
        """The worker processes that really are there."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        return [one for one in family if any(word.endswith("scaling/worker.py") for word in cmdline(one))]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def until(happened: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """With nothing to do and up to two workers."""
    assert running.http.post("/easel/v1/workers", json={"workers": 2}).status_code == 200
    until(lambda: not running.processes)
    return running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, running_redis: RedisServer, tiny_data: Path) -> Iterator[Cluster]:
    running_redis.client.flushall()
    one = Cluster(
        tmp_path_factory.mktemp("ray") / "data",
        running_redis.url,
        tiny_data / "models/Stable-diffusion/tiny.safetensors",
    )
    yield one
    one.end()


def test_a_replica_that_is_killed_loses_nothing(cluster: Cluster) -> None:
    for seed in range(16):
        cluster.http.post("/api/predict/sd/sdapi/v1/txt2img", json=SMALL | {"steps": 200, "seed": seed})
    until(lambda: len(cluster.workers("busy")) == 2)
    until(lambda: sum(job["step"] > 3 for job in map(cluster.job, running_jobs(cluster))) >= 5)
    os.kill(cluster.workers("busy")[0]["pid"], signal.SIGKILL)
    found: list[str] = []

    def collected() -> bool:
        query = {"_index_": 0, "_length_": 16, "_timeout_": "1s", "_raw_": "false"}
        answer = cluster.http.get("/api/predict/sd/sink", params=query)
        found.extend(item["tags"]["requestId"] for item in (answer.json() if answer.status_code == 200 else []))
        return len(found) >= 16

    until(collected)
    time.sleep(3)  # for one too many
    collected()
    assert Counter(found).most_common(1)[0][1] == 1 and len(found) == 16
    pictures = list((cluster.folder / "outputs").rglob("*.png"))
    assert len(pictures) == 16
    assert cluster.http.get("/api/predict/sd", params={"_attrs_": "true"}).json()["stream.length"] == "0"
    assert "broke off" in cluster.log.read_text()


def running_jobs(cluster: Cluster) -> list[str]:
    jobs = cluster.http.get("/easel/v1/jobs").json()
    return [job["id"] for job in jobs if job["state"] == "running"]


def test_jobs_go_where_their_checkpoint_is_warm(cluster: Cluster) -> None:
    def submit(name: str, steps: int) -> str:
        return cluster.submit(steps=steps, override_settings={"sd_model_checkpoint": name})

    first = [submit("one", 300) for _ in range(4)]
    until(lambda: len(cluster.processes) == 2)
    until(lambda: all(cluster.job(job)["state"] == "done" for job in first))
    seen: list[dict[int, list[str]]] = []
    for _ in range(4):
        jobs = [submit(name, 30) for name in ("two", "one", "two", "one")]
        until(lambda: sum(one["jobs"] for one in cluster.workers("busy")) == 4)
        seen.append({one["pid"]: one["checkpoints"] for one in cluster.workers("busy")})
        until(lambda: all(cluster.job(job)["state"] == "done" for job in jobs))  # noqa: B023
    later = seen[1:]  # in the first round a replica had yet to load one of them
    assert all(found == later[0] for found in later), seen
    assert sorted(checkpoints for checkpoints in later[0].values()) == [["one.safetensors"], ["two.safetensors"]], seen


def test_a_replica_too_many_finishes_what_it_has(cluster: Cluster) -> None:
    jobs = [cluster.submit(steps=500, seed=seed) for seed in range(6)]
    until(lambda: len(cluster.workers("busy")) == 2)
    until(lambda: all(cluster.job(job)["step"] > 0 for job in jobs))
    before = cluster.log.read_text().count("broke off")
    assert cluster.http.post("/easel/v1/workers", json={"workers": 1}).status_code == 200
    until(lambda: all(cluster.job(job)["state"] == "done" for job in jobs))
    assert cluster.log.read_text().count("broke off") == before
    until(lambda: len(cluster.processes) == 1)
    until(lambda: not cluster.processes)  # and none when idle
    job = cluster.submit(steps=1)
    until(lambda: cluster.job(job)["state"] == "done")


def test_a_job_is_interrupted_where_it_is(cluster: Cluster) -> None:
    job = cluster.submit(steps=900)
    until(lambda: cluster.job(job)["step"] > 0)
    assert cluster.http.post(f"/easel/v1/jobs/{job}/cancel").status_code == 200
    until(lambda: cluster.job(job)["state"] == "cancelled", 10)
