"""`kill -9` at every labelled place between a task's acceptance and its end: nothing lost, nothing twice."""

from __future__ import annotations

import base64
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from easel.bench.redis_server import RedisServer

from .conftest import SMALL, Service

POINTS = ("accepted", "stored", "claimed", "saving", "saved", "performed", "finishing", "finished")
BODY = SMALL | {"n_iter": 2}


def submit(service: Service, name: str) -> bool:
    """Submit as a careful client does, who repeats a call that had no answer; False when the service is dead."""
    try:
        answer = service.call(
            "POST",
            "sdapi/v1/txt2img",
            content=json.dumps(BODY | {"seed": int(name)}),
            headers={"Idempotency-Key": name},
            task_id=name,
        )
    except httpx.HTTPError:
        return False
    assert answer.status_code == 200, answer.text
    return True


def drain(service: Service, results: dict[str, dict[str, Any]], expected: int) -> None:
    """Read results (leaving them in the sink) until all are there or the service is dead."""
    for _ in range(400):
        try:
            listed = service.call("GET", "sink", length_=1000, timeout_="300ms", raw_="false", auto_delete_="false")
        except httpx.HTTPError:
            return
        if listed.status_code == 200 and len(listed.json()) >= expected:
            results.update({str(item["index"]): item for item in listed.json()})
            return
        if service.dead:
            return
    raise AssertionError("results are missing")


def lives(service: Service, names: list[str], kills: list[str]) -> dict[str, dict[str, Any]]:
    """Submit all, with one death after another, and one life without; the sink's items at the end."""
    waiting, results = list(names), dict[str, dict[str, Any]]()
    for kill in [*kills, ""]:
        service.start(kill_at=kill)
        while waiting and submit(service, waiting[0]):
            waiting.pop(0)
        if not service.dead:
            drain(service, results, len(names) - len(waiting))
        if kill:
            service.end(kill=True)
    assert not waiting
    return results


def check(service: Service, names: list[str], results: dict[str, dict[str, Any]]) -> Counter[str]:
    """One result, one line and one set of pictures for every task; how many ended how."""
    assert Counter(item["tags"]["task_id"] for item in results.values()) == Counter(names)
    ended: Counter[str] = Counter()
    pictures: set[Path] = set()
    for item in results.values():
        parameters = json.loads(base64.b64decode(item["data"]))["parameters"]
        failed = parameters["status"] != 0
        ended["failed" if failed else "done"] += 1
        assert failed == ("lastCode" in item["tags"]) == (parameters["image_url"] == "")
        named = [Path(path) for path in parameters["image_url"].split(",") if path]
        assert len(named) == (0 if failed else 3) and not pictures & set(named)
        pictures |= set(named)
    there = {file for file in (service.folder / "outputs").rglob("*") if file.is_file()}
    assert there == pictures
    assert service.attributes()["stream.length"] == "0"
    service.end()
    with sqlite3.connect(service.folder / ".easel" / "easel.db") as db:
        lines = db.execute("SELECT status FROM ledger WHERE state<>'lost'").fetchall()
    assert Counter("failed" if status else "done" for (status,) in lines) == ended
    assert not list((service.folder / ".easel" / "unfinished").glob("*"))
    return ended


@pytest.fixture(params=["sqlite", "redis"])
def where(request: pytest.FixtureRequest) -> list[str]:
    """Flags that name a store."""
    if request.param == "sqlite":
        return []
    server: RedisServer = request.getfixturevalue("redis_server")
    return ["--queue-url", server.url, "--queue-silence", "3"]


@pytest.mark.parametrize("delivery", ["1", "3"])
def test_killed_at_every_place(make_service: Callable[..., Service], where: list[str], delivery: str) -> None:
    service = make_service("--max-delivery", delivery, *where, start=False)
    names = [str(number) for number in range(10)]
    places = POINTS if delivery == "1" else ("saving:2", "finishing:2")
    ended = check(service, names, lives(service, names, list(places)))
    assert ended["done"] >= 5 and (delivery == "1") == bool(ended["failed"])


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("delivery", ["1", "5"])
def test_killed_hundreds_of_times(make_service: Callable[..., Service], where: list[str], delivery: str) -> None:
    """150 deaths each: 300 a store."""
    draw = random.Random(int(delivery))
    for turn in range(10):
        kills = [f"{draw.choice(POINTS)}:{draw.randint(1, 3)}" for _ in range(15)]
        name = f"turn{turn}-{delivery}"
        service = make_service("--max-delivery", delivery, "--service-name", name, *where, start=False)
        names = [str(number) for number in range(25)]
        check(service, names, lives(service, names, kills))
