"""Gateways whose workers are processes with the fake engine, and what tests look at."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

PATIENCE = 180.0  # seconds; other programs may be at work here
SMALL = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1}


class Gateway:
    """One gateway in a process of its own."""

    def __init__(self, folder: Path, *flags: str, **environment: float) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.folder, self.log = folder, folder.with_suffix(".log")
        command = [sys.executable, str(Path(__file__).with_name("service.py")), "--data-dir", str(folder)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *flags],
                stdout=log,
                stderr=log,
                env=os.environ | {name.upper(): str(value) for name, value in environment.items()},
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE)
        self.threads = ThreadPoolExecutor(64)
        until(self._answers, lambda: self.log.read_text())

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/internal/ping").status_code == 200
        except httpx.HTTPError:
            return False

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.threads.shutdown()
        self.http.close()

    def get(self, path: str) -> Any:
        """The JSON of a route."""
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, body: dict[str, Any] | None = None) -> httpx.Response:
        """A picture."""
        return self.http.post("/sdapi/v1/txt2img", json=SMALL | (body or {}))

    def begin(self, **body: Any) -> Future[httpx.Response]:
        """The same in another thread."""
        return self.threads.submit(self.post, body)

    def submit(self, **body: Any) -> str:
        """A job that nobody waits for; its id."""
        answer = self.http.post("/sdapi/v1/txt2img", json=SMALL | body, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, name: str) -> dict[str, Any]:
        """What is told of a job."""
        found: dict[str, Any] = self.get(f"/easel/v1/jobs/{name}")
        return found

    def workers(self, state: str = "") -> list[dict[str, Any]]:
        """The workers in this state."""
        return [one for one in self.get("/easel/v1/workers")["workers"] if state in ("", one["state"])]

    @property
    def processes(self) -> list[psutil.Process]:
        """The worker processes that really are there."""
        children = psutil.Process(self.process.pid).children()
        return [one for one in children if one.status() != psutil.STATUS_ZOMBIE]


def until(happened: Callable[[], object], told: Callable[[], object] = lambda: "", seconds: float = PATIENCE) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen in time: {told()}"
        time.sleep(0.02)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Gateways that are ended with the test."""
    made: list[Gateway] = []

    def make(*flags: str, **environment: float) -> Gateway:
        made.append(Gateway(tmp_path / f"data{len(made)}", *flags, **environment))
        return made[-1]

    yield make
    for one in made:
        one.end()
