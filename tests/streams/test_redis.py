"""What only the store in Redis does: several gateways on one server, and a server that goes away and comes back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from easel.bench.redis_server import MISSING, RedisServer, can_start
from easel.errors import DiskFull, SettingsError, StoreLost
from easel.streams.items import Interest
from easel.streams.redis_store import RedisStore
from easel.streams.store import Outcome
from easel.values.ledger import Line

from .conftest import INPUT, SINK, WORKERS, opened, put

ANN, BEN = Interest(group="eas", consumer="ann"), Interest(group="eas", consumer="ben")
WORKER = Interest(group=WORKERS, consumer="worker")
SILENCE = 0.4


@pytest.fixture
def gateway(redis_server: RedisServer) -> Iterator[Callable[[], RedisStore]]:
    """Open the streams from another gateway, which gives a silent consumer up soon."""
    made: list[RedisStore] = []

    def start() -> RedisStore:
        made.append(RedisStore(redis_server.url, silence=SILENCE))
        opened(made[-1], capacity=1_000_000)
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may kill."""
    if not can_start():
        pytest.skip(MISSING)
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_gateways_share_consumers_and_items(gateway: Callable[[], RedisStore]) -> None:
    one, two = gateway(), gateway()
    picky = Interest(group="eas", consumer="picky", start=3, tags={"colour": "red"})
    one.join(SINK, ANN)
    two.join(SINK, picky)
    assert sorted(one.consumers(SINK), key=str) == sorted(two.consumers(SINK), key=str) == sorted([ANN, picky], key=str)
    for _ in range(3):
        two.put(SINK, put())
    assert [item.index for item in one.claim(SINK, ANN, 2)] == [1, 2]
    assert [item.index for item in two.claim(SINK, BEN, 2)] == [3]
    two.commit(SINK, "eas", [1])
    assert one.facts(SINK).length == 2 and two.held(SINK, ANN) == [2]


def test_a_group_at_another_gateway_pins_items(gateway: Callable[[], RedisStore]) -> None:
    one, two = gateway(), gateway()
    one.join(SINK, ANN)
    two.join(SINK, Interest(group="other", consumer="x"))
    one.put(SINK, put())
    one.commit(SINK, "eas", [1])
    assert one.facts(SINK).length == 1
    two.close()  # its consumers leave
    assert one.facts(SINK).length == 0 and one.consumers(SINK) == [ANN]


def test_opening_takes_nothing_from_living_gateways(gateway: Callable[[], RedisStore]) -> None:
    one = gateway()
    one.join(INPUT, WORKER)
    one.put(INPUT, put())
    (task,) = one.claim(INPUT, WORKER, 1)
    two = gateway()
    assert two.claim(INPUT, replace(WORKER, consumer="two"), 1) == []
    assert one.finish(INPUT, task, SINK, Outcome(result=None, dead=False, line=Line(job="j", service="sd")))


def test_what_a_dead_gateway_held_returns_after_the_silence(gateway: Callable[[], RedisStore]) -> None:
    dead, living = gateway(), gateway()
    second = replace(WORKER, consumer="two")
    dead.join(INPUT, WORKER)
    living.join(INPUT, second)
    dead.put(INPUT, put())
    (task,) = dead.claim(INPUT, WORKER, 1)
    heard = threading.Event()
    living.watch(lambda stream: heard.set())

    def returned() -> bool:
        living.alive(INPUT, second)
        return living.consumers(INPUT) == [second]

    assert living.claim(INPUT, second, 1) == []
    wait_for(returned)
    assert heard.wait(20)
    (again,) = living.claim(INPUT, second, 1)
    assert again.deliveries == 2
    outcome = Outcome(result=put(), dead=False, line=Line(job="j", service="sd"))
    assert not dead.finish(INPUT, task, SINK, outcome) and living.finish(INPUT, again, SINK, outcome)
    assert living.facts(SINK).length == 1
    dead.alive(INPUT, WORKER)  # it was only slow: there it is again
    assert len(living.consumers(INPUT)) == 2


def test_time_in_which_nobody_looked_is_held_against_nobody(gateway: Callable[[], RedisStore]) -> None:
    one, two = gateway(), gateway()
    one.join(INPUT, WORKER)
    two.join(INPUT, replace(WORKER, consumer="two"))
    one.put(INPUT, put())
    one.claim(INPUT, WORKER, 1)
    time.sleep(2 * SILENCE)  # as if Redis had been away
    two.alive(INPUT, replace(WORKER, consumer="two"))
    assert len(two.consumers(INPUT)) == 2 and two.held(INPUT, WORKER) == [1]


def test_a_restart_after_the_silence_returns_at_once(gateway: Callable[[], RedisStore]) -> None:
    one = gateway()
    one.join(INPUT, WORKER)
    one.put(INPUT, put())
    one.claim(INPUT, WORKER, 1)
    time.sleep(2 * SILENCE)
    assert [item.deliveries for item in gateway().claim(INPUT, WORKER, 1)] == [2]


def test_a_consumer_moves_to_another_gateway(gateway: Callable[[], RedisStore]) -> None:
    one, two = gateway(), gateway()
    one.put(SINK, put())
    one.join(SINK, ANN)
    one.claim(SINK, ANN, 1)
    two.join(SINK, ANN)
    one.leave(SINK, ANN)  # the old connection ends late
    assert two.held(SINK, ANN) == [1] and two.consumers(SINK) == [ANN]


def test_watchers_hear_of_other_gateways(gateway: Callable[[], RedisStore]) -> None:
    one, two = gateway(), gateway()
    heard: list[str] = []
    one.watch(heard.append)
    two.put(SINK, put())
    two.put(INPUT, put())
    wait_for(lambda: heard == [SINK, INPUT])


def test_a_filter_over_a_long_stream_finds_the_last_item(gateway: Callable[[], RedisStore]) -> None:
    store = gateway()
    for _ in range(1100):
        store.put(SINK, put())
    store.put(SINK, put(task_id="mine"))
    mine = replace(ANN, tags={"task_id": "mine"})
    assert [item.index for item in store.claim(SINK, mine, 1)] == [1101]
    assert [item.index for item in store.read(SINK, tags=mine.tags)] == [1101]
    assert store.count(SINK, tags={"requestId": "r"}) == 1101


WHOLE = {"hgetall", "hkeys", "hvals", "keys", "scan", "smembers", "xtrim", "zrange"}  # these read a key to its end


@pytest.mark.parametrize("deep", [5_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_long_queues_cost_no_more(gateway: Callable[[], RedisStore], redis_server: RedisServer, deep: int) -> None:
    """Put, claim, commit and finish run the same commands on a long queue as on one of a hundred items."""
    server, store = redis_server.client, gateway()
    store.join(INPUT, WORKER)
    found: list[dict[str, int]] = []
    server.config_set("appendfsync", "no")  # while there is nothing to lose
    try:
        for depth in (100, deep):
            for _ in range(depth - store.facts(INPUT).length):
                store.put(INPUT, put())
            server.config_resetstat()
            store.put(INPUT, put())
            (item,) = store.claim(INPUT, WORKER, 1)
            store.commit(INPUT, WORKERS, [item.index])
            (item,) = store.claim(INPUT, WORKER, 1)
            assert store.finish(INPUT, item, SINK, Outcome(result=put(), dead=True, line=Line(job="j", service="sd")))
            found.append({name: one["calls"] for name, one in server.info("commandstats").items()})
    finally:
        server.config_set("appendfsync", "always")
    short, long = found
    assert short == long and short["cmdstat_xadd"] == 3
    assert not {f"cmdstat_{name}" for name in WHOLE} & set(long)


def test_a_killed_server_loses_nothing_that_was_acknowledged(own_server: RedisServer) -> None:
    store = opened(RedisStore(own_server.url), capacity=1_000_000)
    heard = threading.Event()
    store.watch(lambda stream: heard.set())
    stored: list[list[int]] = [[] for _ in range(4)]
    enough = threading.Event()

    def fill(mine: list[int]) -> None:
        try:
            while True:
                mine.append(store.put(SINK, put(str(len(mine)).encode()))[0])
                if len(mine) == 50:
                    enough.set()
        except StoreLost as error:
            assert error.status == 503

    threads = [threading.Thread(target=fill, args=(mine,)) for mine in stored]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    own_server.kill()
    for thread in threads:
        thread.join()
    with pytest.raises(StoreLost):
        store.facts(SINK)
    time.sleep(0.2)  # the listener has noticed
    heard.clear()
    own_server.start()
    there = {item.index for item in store.read(SINK, count=1_000_000)}
    acknowledged = {index for mine in stored for index in mine}
    assert acknowledged <= there and len(there) - len(acknowledged) <= len(threads)  # one each may be in doubt
    assert heard.wait(20)  # told by itself that it is back
    assert store.put(SINK, put())[0] == max(there) + 1
    store.close()


def test_no_server_is_a_clear_error_without_the_password(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    own_server.kill()
    store = RedisStore(own_server.url.replace("redis://", "redis://ann:s3cret@"))
    store.watch(print)
    with pytest.raises(StoreLost) as refused:
        store.open(SINK, capacity=1)
    store.close()
    assert "s3cret" not in f"{refused.value} {refused.value.__cause__} {caplog.text}"
    for wrong in ("http://:s3cret@host", "redis://ann:s3cret@host:port/0", "redis://ann:s3/cret@host"):
        with pytest.raises(SettingsError) as bad:
            RedisStore(wrong)
        assert "s3" not in f"{bad.value}" and bad.value.__suppress_context__
    own_server.start()


def test_a_password_is_used(tmp_path: Path) -> None:
    if not can_start():
        pytest.skip(MISSING)
    server = RedisServer(tmp_path, "--requirepass", "s3cret")
    try:
        with pytest.raises(StoreLost):
            RedisStore(server.url).open(SINK, capacity=1)
        store = opened(RedisStore(server.url.replace("redis://", "redis://:s3cret@")))
        assert store.put(SINK, put()) == (1, "r")
        store.close()
    finally:
        server.stop()


def test_a_full_server_refuses_and_recovers(gateway: Callable[[], RedisStore], redis_server: RedisServer) -> None:
    store = gateway()
    redis_server.client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(DiskFull):
            store.put(SINK, put())
    finally:
        redis_server.client.config_set("maxmemory", "0")
    assert store.put(SINK, put())[0] == 1
