"""Fixtures that several parts of the tests need."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from easel.api.server import create_api
from easel.app import Easel
from easel.bench.redis_server import MISSING, RedisServer, can_start
from easel.settings import read_settings

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder of recorded results."""
    return GOLDENS


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the random-weight checkpoints the goldens were recorded with. Read only, please."""
    folder = tmp_path_factory.mktemp("tiny-data")
    made = subprocess.run(
        [sys.executable, GOLDENS / "make_tiny_models.py", folder], check=True, capture_output=True, text=True
    )
    assert "DIFFERS" not in made.stdout, made.stdout
    assert made.stdout.count("as recorded") == len(json.loads((GOLDENS / "tiny_models.sha256.json").read_text()))
    return folder


@pytest.fixture(scope="session")
def tiny_client(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service on the recorded checkpoints: float32, in this process, every route of the API."""
    data = tmp_path_factory.mktemp("tiny-service")
    for name in ("models", "embeddings", "styles.csv"):
        (data / name).symlink_to(tiny_data / name)
    with service(data, "--no-half") as client:
        yield client


@contextmanager
def service(data: Path, *flags: str) -> Iterator[TestClient]:
    """The HTTP API of a whole service with the real engine in this process."""
    import torch

    torch.set_num_threads(1)
    settings = read_settings(["--data-dir", str(data), "--in-process", "--nowebui", *flags], {})
    with TestClient(create_api(Easel(settings)), raise_server_exceptions=False) as client:
        yield client


@dataclass
class QueueServer:
    """`easel serve --edition api` in a process of its own, on the starter; it can be killed and started again."""

    data: Path
    port: int
    service: str = "sd"
    token: str = "secret"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Until it answers."""
        flags = [
            "--edition",
            "api",
            "--service-name",
            self.service,
            "--token",
            self.token,
            "--nowebui",
            "--max-delivery",
            "2",
        ]
        command = [sys.executable, "-m", "easel", "serve", "--port", str(self.port), "--data-dir", str(self.data)]
        with (self.data / "server.log").open("ab") as log:
            self.process = subprocess.Popen([*command, *flags], stderr=log, stdout=log)
        until = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < until, (self.data / "server.log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/internal/ping", timeout=1):
                return True
        except OSError:
            return False


@pytest.fixture(scope="session")
def queue_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    """A real server with a queue, shared: leave it running, and the sink empty."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    server = QueueServer(tmp_path_factory.mktemp("queue"), port)
    server.start()
    yield server
    assert server.process is not None
    server.process.terminate()
    server.process.wait(30)


@pytest.fixture(scope="session")
def eas_python() -> Path:
    """The Python of the virtual environment that has Alibaba's client."""
    folder = Path(sys.prefix) / "eas-client"
    subprocess.run([GOLDENS.parents[1] / "tools" / "eas_client.sh", folder], check=True, env=os.environ)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def running_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if not can_start():
        pytest.skip(MISSING)
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_server(running_redis: RedisServer) -> RedisServer:
    """A server with nothing in it."""
    running_redis.client.flushall()
    return running_redis
