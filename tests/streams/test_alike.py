"""Whatever is done to them, in whatever order, the store in SQLite and the one in Redis answer the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from easel.errors import EaselError
from easel.streams.items import Interest, Item
from easel.streams.redis_store import RedisStore
from easel.streams.sqlite_store import SqliteStore
from easel.streams.store import Outcome, StreamStore
from easel.values.ledger import Line

from .conftest import INPUT, SINK, WORKERS, opened, put

COLOURS = ("red", "blue", "härte \U0001f600")


def some_interest(dice: random.Random, stream: str) -> Interest:
    group = dice.choice((WORKERS, "eas") if stream == INPUT else ("eas", "other", "third"))
    tags = {"colour": dice.choice(COLOURS)} if dice.random() < 0.3 else {}
    start = dice.randrange(1, 40) if dice.random() < 0.2 else 0
    return Interest(group=group, consumer=dice.choice("abc"), tags=tags, start=start)


def act(store: StreamStore, dice: random.Random, tasks: list[Item]) -> Any:
    """Do something to a store; the dice fall the same for each kind."""
    stream = dice.choice((INPUT, SINK))
    who = some_interest(dice, stream)
    given = store.facts(stream).given
    indexes = [dice.randrange(max(1, given - 12), given + 2) for _ in range(dice.randrange(1, 4))]
    match dice.choice(("put",) * 5 + ("claim",) * 5 + ("commit",) * 2 + ("finish",) * 2 + tuple("abcdefgh")):
        case "put":
            colour, priority = dice.choice(COLOURS), dice.choice((0, 0, 0, 1, 7))
            key = dice.choice(("", "", "k1", "k2", "k3"))
            return store.put(stream, put(bytes([dice.randrange(2)]), priority, key, colour=colour))
        case "claim":
            found = store.claim(stream, who, dice.randrange(1, 5))
            tasks += [item for item in found if stream == INPUT and who.group == WORKERS]
            return found
        case "commit":
            return store.commit(stream, who.group, indexes)
        case "finish" if tasks:
            task = dice.choice(tasks)
            result = put(b"result", colour="red") if dice.random() < 0.8 else None
            line = Line(job=f"j{task.index}", service="sd", attempts=task.deliveries, ended=float(task.index))
            return store.finish(INPUT, task, SINK, Outcome(result=result, dead=dice.random() < 0.3, line=line))
        case "a":
            return store.join(stream, who)
        case "b":
            there = sorted(store.consumers(stream), key=str)
            return store.leave(stream, dice.choice(there) if there else who)
        case "c":
            return store.release(stream, who.group, indexes, counted=dice.random() < 0.5)
        case "d":
            return store.delete(stream, indexes)
        case "e" if dice.random() < 0.2:
            return store.truncate(stream, max(0, indexes[0] - 6))
        case "f":
            return [store.place(stream, index, who.group) for index in indexes]
        case "g":
            return store.read(stream, start=max(0, indexes[0] - 6), count=4, tags=dice.choice((None, who.tags)))
        case "h":
            return store.count(stream, priority=dice.choice((None, 0, 1, 7)), tags=dice.choice((None, who.tags)))
    return None


def seen(store: StreamStore) -> list[Any]:
    """Everything that can be seen of a store."""
    whole: list[Any] = [store.ledger()]
    for stream in (INPUT, SINK, f"{INPUT}/rear"):
        whole += [store.facts(stream), store.read(stream, count=1000), sorted(store.consumers(stream), key=str)]
        for group in (WORKERS, "eas", "other", "third"):
            whole += [store.held(stream, Interest(group=group, consumer=name)) for name in "abc"]
    return whole


def outcome_of(store: StreamStore, seed: float, tasks: list[Item]) -> Any:
    try:
        return act(store, random.Random(seed), tasks)
    except EaselError as error:
        return repr(error)


@pytest.fixture
def pair(redis_server: Any, tmp_path: Path) -> Iterator[tuple[StreamStore, StreamStore]]:
    stores = opened(SqliteStore(tmp_path / "easel.db"), 12), opened(RedisStore(redis_server.url), 12)
    yield stores
    for store in stores:
        store.close()


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.long) for n in range(6, 60))])
def test_both_answer_the_same(pair: tuple[StreamStore, StreamStore], seed: int) -> None:
    dice = random.Random(seed)
    tasks: tuple[list[Item], list[Item]] = ([], [])
    for step in range(150):
        one = dice.random()
        first, second = (outcome_of(store, one, mine) for store, mine in zip(pair, tasks, strict=True))
        assert first == second, f"step {step}"
        assert seen(pair[0]) == seen(pair[1]), f"after step {step}"
    rest = replace(some_interest(dice, SINK), start=0, tags={})
    assert pair[0].claim(SINK, rest, 99) == pair[1].claim(SINK, rest, 99)
