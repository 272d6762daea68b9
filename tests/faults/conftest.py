"""A real server with a real worker process on the recorded tiny checkpoint, and what tests do to it."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from easel.bench.service import Server

PATIENCE = 120.0  # seconds; other programs may be at work here
USERS = ("ann", "bob")
TINY = {"prompt": "a cute cat", "seed": 1, "steps": 2, "width": 64, "height": 64}
ENDLESS = TINY | {"steps": 1000}


@dataclass(frozen=True, repr=False)
class Running:
    """A running server. Every call may be made from any thread."""

    server: Server
    data: Path
    threads: ThreadPoolExecutor

    def post(self, body: dict[str, Any], user: str = "ann") -> httpx.Response:
        """`POST /sdapi/v1/txt2img`."""
        url = self.server.url("/sdapi/v1/txt2img")
        return httpx.post(url, json=body, auth=(user, "secret"), timeout=5 * PATIENCE)

    def begin(self, body: dict[str, Any], user: str = "ann") -> Future[httpx.Response]:
        """The same in another thread."""
        return self.threads.submit(self.post, body, user)

    def get(self, path: str) -> httpx.Response:
        """Any other route."""
        return httpx.get(self.server.url(path), auth=("ann", "secret"), timeout=5 * PATIENCE)

    def sampling_step(self) -> int:
        """Of the oldest running job; 0 when none runs."""
        return int(self.get("/sdapi/v1/progress").json()["state"]["sampling_step"])

    def begin_endless(self) -> Future[httpx.Response]:
        """A job that would take minutes, already denoising."""
        answer = self.begin(ENDLESS)
        until(lambda: answer.done() or self.sampling_step() > 0)
        assert not answer.done(), answer.result().text
        return answer

    @property
    def worker(self) -> psutil.Process:
        """The present worker process."""
        (child,) = psutil.Process(self.server.process.pid).children()
        return child


@contextmanager
def running(data: Path, *flags: str) -> Iterator[Running]:
    """Start a server, wait for its first answer, and stop it."""
    with ThreadPoolExecutor(8) as threads, Server(data, *flags) as server:
        server.wait_until_it_answers(PATIENCE)
        yield Running(server, data, threads)


def tiny_folder(data: Path, tiny_data: Path) -> Path:
    """A data folder of one's own with the checkpoint `tiny`."""
    models = data / "models" / "Stable-diffusion"
    models.mkdir(parents=True)
    (models / "tiny.safetensors").symlink_to(tiny_data / "models" / "Stable-diffusion" / "tiny.safetensors")
    return data


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Running]:
    """One server with two places for many tests; whatever a test does to it, it serves the next one."""
    data = tiny_folder(tmp_path_factory.mktemp("faults"), tiny_data)
    passwords = ",".join(f"{user}:secret" for user in USERS)
    with running(data, "--no-half", "--max-jobs-in-flight", "2", "--api-auth", passwords) as one:
        assert one.post(TINY).status_code == 200
        yield one


def until(happened: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for something; AssertionError when it does not happen."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def pixels(answer: httpx.Response) -> np.ndarray:
    """The first picture of an answer, as whole numbers that can be subtracted."""
    assert answer.status_code == 200, answer.text
    data = base64.b64decode(answer.json()["images"][0])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.int16)
