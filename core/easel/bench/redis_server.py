"""A redis-server (Debian's package) of our own for benchmarks and tests, as durable as the SQLite file beside it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

MISSING = "there is no redis-server (on Debian and Ubuntu: apt install redis-server)"


def can_start() -> bool:
    """Whether the program is installed."""
    return shutil.which("redis-server") is not None


class RedisServer:
    """A server on a free port of this machine. What it answered to is on the disk (appendfsync always)."""

    def __init__(self, folder: Path, *flags: str) -> None:
        """`folder` takes its files; `flags` are the server's own."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        program = shutil.which("redis-server") or MISSING
        durable = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
        self._command = [
            program,
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--dir",
            str(folder),
            *durable,
            *flags,
        ]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, protocol=2, retry=Retry(NoBackoff(), 0))
        self.start()

    def start(self) -> None:
        """Start it, again after `kill`, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.client.ping()
                return
            except redis.AuthenticationError:  # an answer, where a flag asks for a password
                return
            except redis.ConnectionError:
                time.sleep(0.02)
        raise TimeoutError("redis-server does not answer")

    def kill(self) -> None:
        """As a power cut does: nothing is written any more."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it."""
        self.client.close()
        self._process.terminate()
        self._process.wait()


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A server while this lasts."""
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.stop()
