"""Alibaba's own client, `eas-prediction` 0.36 as PyPI has it, against a real server, in an environment of its own."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..conftest import QueueServer

CALLS = Path(__file__).parent / "calls.py"
CHECKS = re.findall(r"^def (check_\w+)", CALLS.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def outcome(queue_server: QueueServer, eas_python: Path) -> Mapping[str, str]:
    """What went wrong with each check, or ""."""
    command = [eas_python, CALLS, queue_server.url, queue_server.service, queue_server.token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    told: Mapping[str, str] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("check", CHECKS)
def test_a_call_of_the_queue_client(outcome: Mapping[str, str], check: str) -> None:
    assert outcome[check] == ""


def submit(server: QueueServer, task_id: str) -> None:
    body = {"prompt": "a cat", "steps": 1, "width": 64, "height": 64}
    address = f"{server.url}/api/predict/{server.service}/sdapi/v1/txt2img?task_id={task_id}"
    headers = {"Authorization": server.token, "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode(), headers)) as answer:
        assert answer.read().decode().isdecimal() and answer.headers["X-Eas-Queueservice-Request-Id"]


def left_in_sink(server: QueueServer) -> int:
    address = f"{server.url}/api/predict/{server.service}/sink?_attrs_=true"
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Authorization": server.token})) as answer:
        return int(json.load(answer)["stream.length"])


@contextmanager
def seed_loop(server: QueueServer, python: Path) -> Iterator[subprocess.Popen[str]]:
    """The loop of the documentation, which never ends."""
    command = [python, CALLS, server.url, server.service, server.token, "seed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as loop:
        try:
            yield loop
        finally:
            loop.kill()


def test_the_loop_of_the_documentation_outlives_restarts(queue_server: QueueServer, eas_python: Path) -> None:
    with seed_loop(queue_server, eas_python) as loop:
        assert loop.stdout is not None

        def next_result() -> Any:
            _, name, answer = loop.stdout.readline().split(" ", 2)
            assert json.loads(answer)["parameters"]["status"] == 0
            return name

        submit(queue_server, "before")
        assert next_result() == "before"
        until = time.monotonic() + 20
        while left_in_sink(queue_server):  # the service commits after it has sent: killed in between, it sends again
            assert time.monotonic() < until
            time.sleep(0.05)
        submit(queue_server, "across")  # accepted, and the server is gone
        queue_server.kill()
        time.sleep(1.5)  # the client tries again each second
        queue_server.start()
        submit(queue_server, "after")
        assert {next_result(), next_result()} == {"across", "after"}
