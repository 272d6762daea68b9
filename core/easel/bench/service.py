"""Easel as the benchmarks run it: in this process with its engine's counters in reach, or as a real server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, cast

from easel.app import Easel
from easel.errors import EaselError
from easel.settings import Settings, read_settings
from easel.values.request import GenerationRequest
from easel.worker.workplace import Workplace, build_workplace

if TYPE_CHECKING:
    from easel.engine.loop import Counters
    from easel.engine.ticks import TickEngine
    from easel.values.job import Job
    from easel.values.result import Result

LOCALHOST = "127.0.0.1"


class Studio:
    """An Easel in this process on one checkpoint, ready for requests."""

    def __init__(self, data: Path, *flags: str) -> None:
        settings = read_settings(["--in-process", "--data-dir", str(data), *flags], {})
        self._app = Easel(settings, build=self._build)
        self._workplace: Workplace | None = None

    def __enter__(self) -> Self:
        self._app.start()
        self._checkpoint = self._app.store.default_checkpoint().title
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._app.stop()

    @property
    def counters(self) -> Counters:
        """What the engine did so far; there must have been a request."""
        assert self._workplace is not None
        return cast("TickEngine", self._workplace.engine).counters

    def begin(self, request: GenerationRequest) -> Job:
        """Queue a request."""
        return self._app.jobs.submit(replace(request, checkpoint=self._checkpoint))

    def wait_until_it_denoises(self, job: Job) -> None:
        """Block until a job has done a step; errors: what it failed with before."""
        while job.progress.step < 1:
            if self._app.jobs.state(job).final:
                self.end(job)
            time.sleep(0.001)

    def end(self, job: Job) -> Result:
        """Wait for a job's result; errors: what it failed with."""
        return self._app.jobs.wait_blocking(job)

    def make(self, request: GenerationRequest) -> Result:
        """One request from its beginning to its end."""
        return self.end(self.begin(request))

    def one_after_another(self, requests: Sequence[GenerationRequest]) -> None:
        """Each request waits for the one before."""
        for request in requests:
            self.make(request)

    def together(self, requests: Sequence[GenerationRequest]) -> None:
        """All at once."""
        for job in [self.begin(request) for request in requests]:
            self.end(job)

    def _build(self, settings: Settings) -> Workplace:
        self._workplace = build_workplace(settings)
        return self._workplace


class Server:
    """`easel serve` as a process of its own, with its worker. Its log is in `log`."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.port = _free_port()
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- closed when the server is
        command = [*easel_command(), "serve", "--nowebui", "--port", str(self.port), "--data-dir", str(data), *flags]
        self.process = subprocess.Popen(command, env=easel_environment(), stdout=self.log, stderr=self.log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def wait_until_it_answers(self, timeout: float = 60.0) -> None:
        """Block until `/internal/ping` is answered; EaselError with the end of the log when it never is."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(self.url("/internal/ping"), timeout=5).close()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.02)
            else:
                return
        raise EaselError(f"the server does not answer; the end of its log:\n{self.log_text()[-2000:]}")

    def txt2img(self, body: dict[str, Any], *, timeout: float = 600.0) -> dict[str, Any]:
        """POST a request and return the answer; urllib's HTTPError for an error answer."""
        request = urllib.request.Request(
            self.url("/sdapi/v1/txt2img"), json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return cast("dict[str, Any]", json.load(answer))

    def url(self, path: str) -> str:
        """The address of a route."""
        return f"http://{LOCALHOST}:{self.port}{path}"

    def log_text(self) -> str:
        """What it said so far."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


def easel_command() -> list[str]:
    """The command `easel` of this installation."""
    return [sys.executable, "-m", "easel"]


def easel_environment() -> dict[str, str]:
    """The environment for a child that shall find this very package, and no launch flags of somebody else's."""
    core = str(Path(__file__).parents[2])
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "COMMANDLINE_ARGS" and not name.startswith("EASEL_")
    }
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, (core, os.environ.get("PYTHONPATH", ""))))}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])
