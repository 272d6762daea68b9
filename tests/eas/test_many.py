"""Many watchers at once, slow ones among them; a disk that is full."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import ClientConnection, connect

from .conftest import TOKEN, Service
from .test_queue import fill, parsed, received


async def watchers(service: Service, count: int, groups: int) -> None:
    """`count` watchers in `groups` groups: each group gets every item once, spread over its watchers."""
    headers = {"Authorization": TOKEN, "X-EAS-QueueService-Redis-Gid": "", "X-EAS-QueueService-Redis-Uid": ""}
    query = {"_watch_": "true", "_index_": 0, "_window_": 5, "_index_only_": "false", "_auto_commit_": "true"}
    url = f"ws://127.0.0.1:{service.port}/api/predict/sd/sink?{urlencode(query)}"
    seen: dict[int, list[int]] = {group: [] for group in range(groups)}
    open_now = asyncio.Semaphore(50)

    async def one(number: int, connected: list[ClientConnection]) -> None:
        group = number % groups
        named = headers | {"X-EAS-QueueService-Redis-Gid": f"g{group}", "X-EAS-QueueService-Redis-Uid": f"u{number}"}
        async with open_now:
            watch = await connect(url, additional_headers=named, compression=None, ping_interval=2, open_timeout=60)
        connected.append(watch)
        try:
            async for message in watch:
                seen[group].append(parsed(message)[0])
        finally:
            await watch.close()

    connected: list[ClientConnection] = []
    tasks = [asyncio.create_task(one(number, connected)) for number in range(count)]
    while len(connected) < count:
        assert not [task for task in tasks if task.done()]
        await asyncio.sleep(0.05)
    items = count // groups
    await asyncio.to_thread(fill, service, items)
    deadline = time.monotonic() + 60
    while any(len(got) < items for got in seen.values()) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(Counter(got) == Counter(range(1, items + 1)) for got in seen.values())


@pytest.mark.parametrize(("count", "groups"), [(60, 3), pytest.param(1000, 5, marks=pytest.mark.long)])
def test_watchers_at_once(service: Service, count: int, groups: int) -> None:
    asyncio.run(watchers(service, count, groups))
    assert service.attributes("sink")["consumers.stats.total"] == "0"


def test_a_slow_watcher_holds_up_nobody(service: Service) -> None:
    big = "x" * 8000
    with (
        service.watching(group="slow", window=1000, auto_commit="true"),
        service.watching(group="quick", window=1000, auto_commit="true") as quick,
    ):
        for _ in range(150):
            assert service.call("POST", "sink", content=big).status_code == 200
        assert [received(quick)[0] for _ in range(150)] == list(range(1, 151))


def test_a_full_disk_refuses_and_loses_nothing(make_service: Callable[..., Service]) -> None:
    service = make_service(start=False)
    service.start(largest_file=400_000)
    accepted = 0
    for _ in range(200):
        answer = service.call("POST", "sink", content="x" * 8000)
        if answer.status_code != 200:
            break
        accepted += 1
    assert answer.status_code == 507 and answer.json()["detail"] == "There is no room left."
    assert service.attributes("sink")["stream.length"] == str(accepted) and accepted
    service.end(kill=True)
    service.start()
    assert service.attributes("sink")["stream.length"] == str(accepted)
    assert service.call("POST", "sink", content="x").status_code == 200
