"""Several gateways on one Redis, and a Redis that dies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest

from easel.bench.redis_server import RedisServer

from .conftest import SMALL, Service
from .test_queue import fill, received


@pytest.fixture
def make_gateway(make_service: Callable[..., Service], redis_server: RedisServer) -> Callable[[], Service]:
    """Gateways of one service; each has a data folder of its own here."""
    return lambda: make_service("--queue-url", redis_server.url, "--queue-silence", "3", "--max-delivery", "3")


def test_two_gateways_are_one_queue(make_gateway: Callable[[], Service]) -> None:
    one, two = make_gateway(), make_gateway()
    with one.watching(window=1, user="ann") as ann, two.watching(window=1, user="ben") as ben:
        fill(two, 3)
        assert {received(ann)[0], received(ben)[0]} == {1, 2}
        assert one.attributes("sink")["consumers.stats.total"] == "2" == two.attributes("sink")["consumers.stats.total"]
        held = 1 if one.call("GET", "sink", search_="true", index_=1).json()["ConsumerId"] == "eas.ann" else 2
        assert two.call("PUT", "sink", indexes_=held).text == "OK"  # ann's, by the other gateway
        assert received(ann)[0] == 3
    names = [str(number) for number in range(8)]
    for number, name in enumerate(names):
        (one, two)[number % 2].submit(SMALL | {"seed": number}, task_id=name)
    for gateway in (one, two):
        gateway.call("DELETE", "sink", index_=4, trunc_="true")
    results = one.results(8)
    assert Counter(item["tags"]["task_id"] for item in results) == Counter(names)


def test_what_a_dead_gateway_held_is_done_by_another(make_gateway: Callable[[], Service]) -> None:
    one, two = make_gateway(), make_gateway()
    two.end()
    two.start(kill_at="performed")
    one.end()
    two.submit(task_id="1")
    assert two.process is not None and two.process.wait(20) == -9
    one.start()
    (result,) = one.results(1, timeout="20s")
    assert result["tags"]["task_id"] == "1" and result["data"]["parameters"]["status"] == 0


def test_a_redis_that_dies_loses_nothing(make_gateway: Callable[[], Service], redis_server: RedisServer) -> None:
    one = make_gateway()
    fill(one, 2)
    with one.watching() as watch:
        assert received(watch)[0] == 1
        redis_server.kill()
        answer = one.call("POST", "sink", content="x")
        assert answer.status_code == 503
        redis_server.start()
        for _ in range(100):
            if one.call("POST", "sink", content="again").status_code == 200:
                break
            time.sleep(0.1)
        assert received(watch)[0] == 2
    assert int(one.attributes("sink")["stream.length"]) >= 3
    one.submit(task_id="after")
    found = one.call("GET", "sink", task_id="after", timeout_="10s", raw_="true")
    assert found.status_code == 200 and found.json()["parameters"]["status"] == 0
