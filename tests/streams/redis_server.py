"""A real redis-server (Debian's package) for tests, as durable as can be: every write is on the disk before the answer."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import redis

MISSING = "redis-server is not installed (on Debian and Ubuntu: apt install redis-server)"


class RedisServer:
    """A server on a free port of this machine, with files of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._folder, self._flags = folder, flags
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, socket_connect_timeout=5)
        self.start()

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program, MISSING
        flags = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder), "--save", ""]
        flags += ["--appendonly", "yes", "--appendfsync", "always", *self._flags]
        self._process = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                self.client.ping()
                return
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:
                time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def kill(self) -> None:
        """As a power cut does: nothing is written any more."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait()

    def commands(self) -> int:
        """How many commands it ran so far, those of scripts and the one that asks included."""
        statistics = self.client.info("commandstats")
        return sum(one["calls"] for one in statistics.values())
