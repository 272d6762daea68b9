"""A store of each kind, with an input and a sink in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from easel.bench.redis_server import RedisServer
from easel.streams.items import REQUEST_ID
from easel.streams.redis_store import RedisStore
from easel.streams.sqlite_store import SqliteStore
from easel.streams.store import Put, StreamStore

INPUT, SINK, WORKERS = "sd", "sd/sink", "sd"


def opened(store: StreamStore, capacity: int = 1000) -> StreamStore:
    store.open(INPUT, capacity=capacity, owner=WORKERS)
    store.open(f"{INPUT}/rear", capacity=capacity)
    store.open(SINK, capacity=capacity)
    return store


def put(data: bytes = b"x", priority: int = 0, key: str = "", **tags: str) -> Put:
    return Put(data=data, tags={REQUEST_ID: "r", **tags}, priority=priority, key=key, fingerprint=data.hex())


@pytest.fixture(params=["sqlite", "redis"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], StreamStore]:
    """Open the same store again and again, as restarts do."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "easel.db")
    server: RedisServer = request.getfixturevalue("redis_server")
    return lambda: RedisStore(server.url)


@pytest.fixture
def store(make_store: Callable[[], StreamStore]) -> Iterator[StreamStore]:
    made = opened(make_store())
    yield made
    made.close()
