"""What every store of streams does: the same tests for each kind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from easel.streams.items import Call, Interest, Item, KeyUsedOtherwise, Place, StreamFull
from easel.streams.store import Outcome, StreamStore
from easel.values.ledger import Line

from .conftest import INPUT, SINK, WORKERS, opened, put

ANN, BEN = Interest(group="eas", consumer="ann"), Interest(group="eas", consumer="ben")
WORKER = Interest(group=WORKERS, consumer="worker")


def indexes(items: list[Item]) -> list[int]:
    return [item.index for item in items]


def fill(store: StreamStore, count: int, stream: str = SINK) -> None:
    for number in range(count):
        store.put(stream, put(str(number).encode()))


def test_items_come_back_as_they_were(store: StreamStore) -> None:
    call = Call(path="sdapi/v1/txt2img", content_type="application/json", user="ann", created=1.5)
    data, tags = bytes(range(256)), {"task_id": "härte 'job\"", "a.b": "", "$": "\U0001f600"}
    assert store.put(INPUT, replace(put(data, 3, **tags), call=call)) == (1, "r")
    (item,) = store.read(INPUT)
    assert item == Item(index=1, data=data, tags={"requestId": "r", **tags}, priority=3, call=call)
    assert store.read(INPUT, tags={"$": "\U0001f600"}) == [item] and not store.read(INPUT, tags={"$": "x"})


def test_indexes_are_never_used_twice(make_store: Callable[[], StreamStore]) -> None:
    store = opened(make_store())
    fill(store, 3)
    store.delete(SINK, [3, 3, 99])
    store.truncate(SINK, 2)
    assert (store.facts(SINK).length, store.facts(SINK).first, store.facts(SINK).last) == (1, 2, 2)
    store.delete(SINK, [2])
    assert (store.facts(SINK).length, store.facts(SINK).first, store.facts(SINK).last) == (0, 0, 3)
    store.close()
    store = opened(make_store())
    assert store.put(SINK, put())[0] == 4
    store.close()


def test_a_full_stream_refuses(store: StreamStore) -> None:
    store.open(SINK, capacity=2)
    fill(store, 2)
    with pytest.raises(StreamFull):
        store.put(SINK, put())
    store.commit(SINK, "eas", [1])
    assert store.put(SINK, put())[0] == 3


def test_a_key_counts_once(store: StreamStore) -> None:
    first = store.put(INPUT, replace(put(b"a", key="k"), tags={"requestId": "first"}))
    assert store.put(INPUT, replace(put(b"a", key="k"), tags={"requestId": "second"})) == first == (1, "first")
    with pytest.raises(KeyUsedOtherwise, match="Idempotency-Key"):
        store.put(INPUT, put(b"b", key="k"))
    store.delete(INPUT, [1])  # done long ago: still known
    assert store.put(INPUT, put(b"a", key="k")) == first
    assert store.facts(INPUT).length == 0


def test_windows_and_groups(store: StreamStore) -> None:
    fill(store, 5)
    other = Interest(group="other", consumer="ann")
    for who in (ANN, BEN, other):
        store.join(SINK, who)
    assert indexes(store.claim(SINK, ANN, 2)) == [1, 2] and store.claim(SINK, ANN, 2) == []
    assert indexes(store.claim(SINK, BEN, 2)) == [3, 4]
    assert indexes(store.claim(SINK, other, 9)) == [1, 2, 3, 4, 5]
    store.commit(SINK, "eas", [1, 1, 77])
    assert store.held(SINK, ANN) == [2] and indexes(store.claim(SINK, ANN, 2)) == [5]
    assert indexes(store.read(SINK, count=9)) == [1, 2, 3, 4, 5]  # the other group still has it
    store.commit(SINK, "other", [1, 2])
    assert indexes(store.read(SINK, count=9)) == [2, 3, 4, 5]
    store.leave(SINK, other)  # a group that nobody is in pins nothing
    store.commit(SINK, "eas", [2, 3])
    assert indexes(store.read(SINK, count=9)) == [4, 5]


def test_leaving_groups_let_go(store: StreamStore) -> None:
    fill(store, 2)
    other = Interest(group="other", consumer="x")
    for who in (ANN, other):
        store.join(SINK, who)
    store.commit(SINK, "eas", [1, 2])
    assert store.facts(SINK).length == 2
    store.leave(SINK, other)
    assert store.facts(SINK).length == 0


def test_what_a_consumer_held_comes_again_first(store: StreamStore) -> None:
    fill(store, 4)
    store.join(SINK, ANN)
    store.join(SINK, BEN)
    assert indexes(store.claim(SINK, ANN, 2)) == [1, 2]
    store.leave(SINK, ANN)
    again = store.claim(SINK, BEN, 3)
    assert [(item.index, item.deliveries) for item in again] == [(1, 2), (2, 2), (3, 1)]
    store.release(SINK, "eas", [2])
    store.release(SINK, "eas", [3], counted=False)
    assert [(item.index, item.deliveries) for item in store.claim(SINK, BEN, 9)] == [(2, 3), (3, 1), (4, 1)]


def test_a_consumer_that_comes_again_takes_over(store: StreamStore) -> None:
    fill(store, 2)
    store.join(SINK, ANN)
    store.claim(SINK, ANN, 1)
    store.join(SINK, ANN)
    assert store.held(SINK, ANN) == [1] and len(store.consumers(SINK)) == 1


def test_priorities(store: StreamStore) -> None:
    for priority in (0, 1, 0, 7, 1):
        store.put(SINK, put(priority=priority))
    assert indexes(store.claim(SINK, ANN, 2)) == [4, 2]
    store.release(SINK, "eas", [2])
    assert indexes(store.claim(SINK, ANN, 9)) == [2, 5, 1, 3]
    assert store.count(SINK, priority=1) == 2 and indexes(store.read(SINK, count=2)) == [1, 2]


def test_filters_and_starts(store: StreamStore) -> None:
    red, late = replace(ANN, tags={"colour": "red"}), replace(BEN, start=4)
    for number in range(6):
        store.put(SINK, put(colour="red" if number % 2 else "blue"))
    assert indexes(store.claim(SINK, red, 2)) == [2, 4]
    assert indexes(store.claim(SINK, late, 9)) == [5, 6]
    store.put(SINK, put(colour="blue"))
    store.put(SINK, put(colour="red"))
    assert indexes(store.claim(SINK, red, 9)) == [8]
    assert indexes(store.claim(SINK, Interest(group="eas", consumer="rest"), 9)) == [1, 3, 7]
    assert store.count(SINK, tags={"colour": "red"}) == 4


def test_a_group_pins_only_what_it_wants(store: StreamStore) -> None:
    red = Interest(group="picky", consumer="x", tags={"colour": "red"})
    store.join(SINK, red)
    store.put(SINK, put(colour="red"))
    store.put(SINK, put(colour="blue"))
    store.commit(SINK, "eas", [1, 2])
    assert indexes(store.read(SINK, count=9)) == [1]


def test_places_in_line(store: StreamStore) -> None:
    fill(store, 3, INPUT)
    store.put(INPUT, put(priority=1))
    store.join(INPUT, WORKER)
    assert indexes(store.claim(INPUT, WORKER, 1)) == [4]
    assert store.place(INPUT, 4, "eas") == Place(holder="sd.worker")  # for every group that asks
    assert store.place(INPUT, 1, "eas") == Place() and store.place(INPUT, 3, "eas") == Place(ahead=2)
    assert store.place(INPUT, 9, "eas") is None
    store.release(INPUT, WORKERS, [4])
    assert store.place(INPUT, 3, "eas") == Place(ahead=3)


def test_only_workers_remove_from_the_input(store: StreamStore) -> None:
    outsider = Interest(group="eas", consumer="x")
    fill(store, 2, INPUT)
    store.join(INPUT, outsider)
    assert indexes(store.claim(INPUT, outsider, 9)) == [1, 2]
    store.commit(INPUT, "eas", [1, 2])
    assert store.facts(INPUT).length == 2 and store.claim(INPUT, outsider, 9) == []
    store.leave(INPUT, outsider)  # with no worker there
    assert indexes(store.claim(INPUT, WORKER, 9)) == [1, 2]
    store.commit(INPUT, WORKERS, [1, 2])
    assert store.facts(INPUT).length == 0


def line(job: str = "j") -> Line:
    return Line(job=job, service="sd", user="ann", project="p", seconds={"denoise": 0.5}, ended=2.0)


def test_a_task_ends_once(store: StreamStore) -> None:
    store.put(INPUT, put(b"task", task_id="1"))
    (task,) = store.claim(INPUT, WORKER, 1)
    outcome = Outcome(result=put(b"result", task_id="1"), dead=False, line=line())
    assert store.finish(INPUT, task, SINK, outcome) and not store.finish(INPUT, task, SINK, outcome)
    assert store.facts(INPUT).length == 0
    (result,) = store.read(SINK)
    assert (result.data, result.tags["task_id"]) == (b"result", "1")
    assert store.ledger() == [line()] and store.facts(f"{INPUT}/rear").length == 0


def test_an_overtaken_delivery_ends_nothing(store: StreamStore) -> None:
    fill(store, 1, INPUT)
    (slow,) = store.claim(INPUT, WORKER, 1)
    store.leave(INPUT, WORKER)
    (task,) = store.claim(INPUT, replace(WORKER, consumer="two"), 1)
    outcome = Outcome(result=put(b"slow"), dead=False, line=line())
    assert task.deliveries == 2 and not store.finish(INPUT, slow, SINK, outcome)
    assert store.facts(SINK).length == 0 and store.ledger() == []
    assert store.finish(INPUT, task, SINK, outcome)


def test_dead_letters_are_kept(store: StreamStore) -> None:
    store.put(INPUT, put(b"bad", task_id="1"))
    (task,) = store.claim(INPUT, WORKER, 1)
    assert store.finish(INPUT, task, SINK, Outcome(result=put(b"sorry"), dead=True, line=line()))
    (dead,) = store.read(f"{INPUT}/rear")
    assert (dead.data, dead.tags["task_id"]) == (b"bad", "1") and store.facts(SINK).length == 1


def test_a_result_finds_room_in_a_full_sink(store: StreamStore) -> None:
    store.open(SINK, capacity=1)
    fill(store, 1)
    fill(store, 1, INPUT)
    (task,) = store.claim(INPUT, WORKER, 1)
    assert store.finish(INPUT, task, SINK, Outcome(result=put(), dead=False, line=line()))
    assert store.facts(SINK).length == 2


def test_a_restart_returns_what_was_held(make_store: Callable[[], StreamStore]) -> None:
    store = opened(make_store())
    fill(store, 3, INPUT)
    store.join(INPUT, WORKER)
    store.claim(INPUT, WORKER, 2)
    store.commit(INPUT, WORKERS, [1])
    store.close()
    store = opened(make_store())
    assert [(item.index, item.deliveries) for item in store.claim(INPUT, WORKER, 9)] == [(2, 2), (3, 1)]
    assert store.put(INPUT, put())[0] == 4
    store.close()


def test_changes_are_told(store: StreamStore) -> None:
    heard, ring = [], threading.Event()

    def changed(stream: str) -> None:
        heard.append(stream)
        ring.set()

    end = store.watch(changed)
    store.put(SINK, put())
    assert ring.wait(5) and heard == [SINK]
    end()
    store.put(SINK, put())
    assert heard == [SINK]


def test_many_at_once(store: StreamStore) -> None:
    """Eight threads put, four consumers take: each item once, to one of them."""
    taken: list[int] = []
    done = threading.Event()

    def take(who: Interest) -> None:
        while not done.is_set() or store.facts(SINK).length:
            mine = indexes(store.claim(SINK, who, 5))
            taken.extend(mine)
            store.commit(SINK, "eas", mine)

    takers = [threading.Thread(target=take, args=(replace(ANN, consumer=str(n)),)) for n in range(4)]
    putters = [threading.Thread(target=fill, args=(store, 25)) for _ in range(8)]
    for thread in takers + putters:
        thread.start()
    for thread in putters:
        thread.join()
    done.set()
    for thread in takers:
        thread.join()
    assert sorted(taken) == list(range(1, 201))
