"""The `autoscaler`: 0, as many as the backlog wants, 0 again; no task is lost, and nothing runs with nothing to do."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import PATIENCE, SMALL, Gateway, until

Make = Callable[..., Gateway]
FLAGS = ("--edition", "api", "--workers", "3", "--min-workers", "0", "--worker-backlog", "3", "--idle-timeout", "1")


def put(one: Gateway, number: int, **body: Any) -> None:
    """Tasks into the input."""
    for seed in range(number):
        content = json.dumps(SMALL | body | {"seed": seed})
        answer = one.http.post("/api/predict/sd/sdapi/v1/txt2img", content=content)
        assert answer.status_code == 200, answer.text


def take(one: Gateway, number: int) -> list[str]:
    """The request ids of that many results."""
    found: list[str] = []
    end = time.monotonic() + PATIENCE
    while len(found) < number:
        answer = one.http.get("/api/predict/sd/sink?_index_=0&_length_=100&_timeout_=10s&_raw_=false")
        assert answer.status_code in (200, 204) and time.monotonic() < end, f"{len(found)} of {number}: {answer.text}"
        for item in answer.json() if answer.status_code == 200 else ():
            end = time.monotonic() + PATIENCE
            told = json.loads(base64.b64decode(item["data"]))
            assert told["status"] == "success" if "status" in told else "images" in told, told
            found.append(item["tags"]["requestId"])
    return found


def go(one: Gateway, number: int, **body: Any) -> int:
    """0 → 3 → 0; the greatest number of worker processes that were there."""
    assert one.processes == []
    put(one, number, **body)
    most, collecting = 0, one.threads.submit(take, one, number)
    while not collecting.done():
        most = max(most, len(one.processes))
        time.sleep(0.05)
    assert len(set(collecting.result())) == number
    until(lambda: not one.processes)
    assert one.http.get("/api/predict/sd?_count_=true").text == "0"
    assert one.http.get("/api/predict/sd/sink?_count_=true").text == "0"
    return most


def test_from_nothing_to_three_and_back(gateway: Make) -> None:
    assert go(gateway(*FLAGS, step_seconds=0.1), 24, steps=10) == 3


@pytest.mark.long
@pytest.mark.timeout(900)
def test_again_and_again(gateway: Make) -> None:
    one = gateway(*FLAGS, step_seconds=0.05)
    assert [go(one, 200, steps=10) for _ in range(3)] == [3, 3, 3]
