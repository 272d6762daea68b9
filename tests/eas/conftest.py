"""Services of the api edition as processes, and the queue's calls as its clients make them."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2 as httpx
import pytest
from websockets.sync.client import ClientConnection, connect

SCRIPT = Path(__file__).parent / "service.py"
TOKEN = "secret"
SMALL = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Service:
    """One service: start, stop, kill, start again on the same port and folder."""

    def __init__(self, folder: Path, port: int, *flags: str) -> None:
        self.folder, self.port, self.flags = folder, port, flags
        self.url = f"http://127.0.0.1:{port}"
        self.name = flags[flags.index("--service-name") + 1] if "--service-name" in flags else "sd"
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": TOKEN}, timeout=30)

    def start(self, *, kill_at: str = "", largest_file: int = 0) -> None:
        """Start and wait until it answers, or died. `largest_file`: bytes at which its disk is full, for a file."""
        words = ["--data-dir", str(self.folder), "--port", str(self.port), "--token", TOKEN, *self.flags]
        environment = {**os.environ, "EASEL_KILL_AT": kill_at}
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        command = [sys.executable, str(SCRIPT), *words]
        if largest_file:
            command = ["prlimit", f"--fsize={largest_file}", *command]
        self.process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
        log.close()
        for _ in range(600):
            if self.process.poll() is not None:
                return
            with suppress(httpx.HTTPError):
                if self.http.get("/internal/ping").status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("the service does not answer")

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self.process is None or self.process.poll() is not None

    def end(self, *, kill: bool = False) -> None:
        """Stop it, or kill it."""
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(30)

    # -- the calls of the protocol

    def call(self, method: str, stream: str = "", *, group: str = "eas", user: str = "ann", **query: Any) -> Any:
        """One call of a stream ("" or "sink", or a path below); `_x_` parameters are written `x_`."""
        parameters = {(f"_{name}" if name.endswith("_") else name): value for name, value in query.items()}
        content = parameters.pop("content", None)
        headers = {"X-EAS-QueueService-Redis-Gid": group, "X-EAS-QueueService-Redis-Uid": user}
        headers |= parameters.pop("headers", {})
        path = f"/api/predict/{self.name}" + (f"/{stream}" if stream else "")
        return self.http.request(method, path, params=parameters, content=content, headers=headers)

    def submit(self, body: dict[str, Any] | None = None, path: str = "sdapi/v1/txt2img", **query: Any) -> int:
        """Put a task; its index."""
        answer = self.call("POST", path, content=json.dumps(SMALL | (body or {})), **query)
        assert answer.status_code == 200, answer.text
        return int(answer.text)

    def results(self, count: int, timeout: str = "20s") -> list[dict[str, Any]]:
        """Take results out of the sink, parsed, each with its tags."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            answer = self.call("GET", "sink", index_=0, length_=count - len(found), timeout_=timeout, raw_="false")
            assert answer.status_code == 200, f"{len(found)} of {count} results; {answer.status_code} {answer.text}"
            for item in answer.json():
                found.append(item | {"data": json.loads(base64.b64decode(item["data"]))})
        return found

    def attributes(self, stream: str = "") -> dict[str, str]:
        """The attributes of a stream."""
        answer: dict[str, str] = self.call("GET", stream, attrs_="true").json()
        return answer

    @contextmanager
    def watching(
        self, stream: str = "sink", *, group: str = "eas", user: str = "ann", token: str = TOKEN, **query: Any
    ) -> Iterator[ClientConnection]:
        """A watch; its frames come from `receive`."""
        defaults = {"index": 0, "window": 5, "index_only": "false", "auto_commit": "false"}
        named = {f"_{name}_": query.pop(name, default) for name, default in defaults.items()}
        path = f"ws://127.0.0.1:{self.port}/api/predict/{self.name}" + (f"/{stream}" if stream else "")
        headers = {
            "Authorization": token,
            "X-EAS-QueueService-Redis-Gid": group,
            "X-EAS-QueueService-Redis-Uid": user,
        }
        url = f"{path}?{urlencode({'_watch_': 'true', **named, **query})}"
        quick: dict[str, Any] = {"ping_interval": 2, "close_timeout": 1, "max_queue": 1}
        with connect(url, additional_headers=headers, compression=None, **quick) as watch:
            yield watch


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Services that are ended with the test."""
    made: list[Service] = []

    def make(*flags: str, start: bool = True) -> Service:
        one = Service(tmp_path / f"data{len(made)}", free_port(), *flags)
        made.append(one)
        if start:
            one.start()
        return one

    yield make
    for one in made:
        one.end(kill=True)
        one.http.close()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """A running one."""
    return make_service()
