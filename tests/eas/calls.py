"""Runs in the virtual environment of Alibaba's client: every call of its `QueueClient`, against a real server.

`python calls.py URL SERVICE TOKEN [CHECK …]` prints a JSON object: the name of each check, and what went wrong, or "".
`python calls.py URL SERVICE TOKEN seed` is the loop of PAI's documentation; it prints a line for every result.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from eas_prediction import QueueClient
from eas_prediction.exception import PredictException
from websocket import WebSocketBadStatusException

URL, SERVICE, TOKEN = sys.argv[1:4]
REAR = "X-EAS-QueueService-Access-Rear"
SMALL = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}


def connect(name: str = SERVICE + "/sink", token: str = TOKEN, **identity: Any) -> QueueClient:
    client = QueueClient(URL, name)
    client.set_token(token)
    client.init(**identity)
    client.set_logger()
    return client


def emptied(name: str = SERVICE + "/sink") -> QueueClient:
    """A client of an empty queue."""
    client = connect(name)
    client.truncate(int(client.attributes()["stream.lastEntry"]) + 1)
    assert client.attributes()["stream.length"] == "0"
    return client


@contextmanager
def watching(client: QueueClient, *arguments: Any, **options: Any) -> Iterator[queue.Queue[Any]]:
    """What a watcher is pushed, as it comes."""
    pushed: queue.Queue[Any] = queue.Queue()
    watcher = client.watch(*arguments, **options)
    done = threading.Event()

    def read() -> None:
        for item in watcher.run():
            if done.is_set():
                return
            pushed.put(item)

    threading.Thread(target=read, daemon=True).start()
    try:
        yield pushed
    finally:
        done.set()
        watcher.event.set()
        watcher.url = "ws://127.0.0.1:1/"  # its loop would connect again, for ever
        client.watch_sock.abort()


def numbers(pushed: queue.Queue[Any], count: int) -> list[int]:
    return [pushed.get(timeout=5).index for _ in range(count)]


def silent(pushed: queue.Queue[Any], seconds: float = 0.7) -> bool:
    try:
        pushed.get(timeout=seconds)
    except queue.Empty:
        return True
    return False


def until(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return value


def refusal(call: Callable[[], object]) -> int:
    try:
        call()
    except PredictException as error:
        return int(error.code)
    raise AssertionError("it was not refused")


# -- put and get


def check_put_gives_an_index_and_a_request_id() -> None:
    client = emptied()
    (first, one), (second, two) = client.put("a", {"task_id": "t 1"}), client.put(b"\xff\x00")
    assert int(second) == int(first) + 1 and first.isdecimal() and one != two
    (item,) = client.get(request_id=one)
    assert (item.index, item.data, dict(item.tags)) == (int(first), b"a", {"task_id": "t 1", "requestId": one})
    (item,) = client.get(index=second)
    assert item.data == b"\xff\x00" and client.attributes()["stream.length"] == "0"


def check_put_keeps_tags_of_every_script() -> None:
    client = emptied()
    tags = {"name": "härte, 世界 \U0001f600", "a.b-c": "", "x": "a+b&c=d/%20"}
    _, request = client.put("x", {**tags, "_hidden": "1"})
    (item,) = client.get()
    assert dict(item.tags) == {**tags, "requestId": request}


def check_get_takes_and_leaves() -> None:
    client = emptied()
    first = int(client.put("0")[0])
    for number in range(1, 5):
        client.put(str(number))
    assert [item.data for item in client.get(length=2, auto_delete=False)] == [b"0", b"1"]
    assert [item.data for item in client.get(length=2)] == [b"0", b"1"]
    assert [item.data for item in client.get(index=first + 3, length=9, timeout="0s")] == [b"3", b"4"]
    assert [item.data for item in client.get(length=9, timeout="500ms")] == [b"2"]
    assert client.get(timeout="0s") == []


def check_get_by_tags() -> None:
    client = emptied()
    for number in range(6):
        client.put(str(number), {"even": str(number % 2 == 0), "three": str(number % 3 == 0)})
    found = client.get(length=9, timeout="0s", tags={"even": "True"})
    assert [item.data for item in found] == [b"0", b"2", b"4"]
    assert [item.data for item in client.get(tags={"even": "False", "three": "True"})] == [b"3"]
    assert client.attributes()["stream.length"] == "2"


def check_get_waits_for_what_comes() -> None:
    client = emptied()
    timer = threading.Timer(0.5, connect().put, ["late"])
    timer.start()
    begin = time.monotonic()
    (item,) = client.get()
    assert item.data == b"late" and 0.4 < time.monotonic() - begin < 1.5


def check_get_gives_up_before_its_own_timeout() -> None:
    client = emptied()
    begin = time.monotonic()
    assert client.get() == [] and client.get(timeout="2s") == []
    assert 5.5 < time.monotonic() - begin < 7.0


def check_a_payload_has_a_limit() -> None:
    client = emptied()
    client.put("x" * 8192)
    assert refusal(lambda: client.put("x" * 8193)) == 413
    assert client.attributes()["stream.length"] == "1"


# -- delete, truncate, commit


def check_delete() -> None:
    client = emptied()
    indexes = [int(client.put(str(number))[0]) for number in range(4)]
    assert client.delete(indexes[0]) == "OK" and client.delete(indexes[1:3]) == "OK"
    assert client.delete(indexes[:3]) == "OK" and client.delete([10**9]) == "OK"
    assert [item.index for item in client.get(length=9, timeout="0s")] == indexes[3:]


def check_truncate() -> None:
    client = emptied()
    indexes = [int(client.put(str(number))[0]) for number in range(4)]
    assert client.truncate(indexes[2]) == b"OK"
    told = client.attributes()
    assert [told[f"stream.{name}"] for name in ("length", "firstEntry", "lastEntry")] == [
        "2",
        str(indexes[2]),
        str(indexes[3]),
    ]
    client.truncate(indexes[3] + 1)
    told = client.attributes()
    assert (told["stream.length"], told["stream.lastEntry"]) == ("0", str(indexes[3]))
    assert int(client.put("again")[0]) == indexes[3] + 1


def check_commit_takes_away() -> None:
    client = emptied()
    indexes = [int(client.put(str(number))[0]) for number in range(3)]
    with watching(client, 0, 5) as pushed:
        assert numbers(pushed, 3) == indexes
        assert client.commit(indexes[0]) == b"OK" and client.commit(indexes[:2]) == b"OK"
        assert client.commit([10**9]) == b"OK"
        assert client.attributes()["stream.length"] == "1"


# -- watch


def check_a_window_is_kept() -> None:
    client = emptied()
    indexes = [int(client.put(str(number))[0]) for number in range(5)]
    with watching(client, 0, 2) as pushed:
        assert numbers(pushed, 2) == indexes[:2] and silent(pushed)
        client.commit(indexes[1])
        assert numbers(pushed, 1) == indexes[2:3] and silent(pushed)
        client.commit([indexes[0], indexes[2]])
        assert numbers(pushed, 2) == indexes[3:]


def check_what_is_not_committed_comes_again() -> None:
    client = emptied()
    indexes = [int(client.put(str(number))[0]) for number in range(3)]
    with watching(client, 0, 5) as pushed:
        assert numbers(pushed, 3) == indexes
        client.commit(indexes[1])
    with watching(connect(), 0, 5) as pushed:
        assert numbers(pushed, 2) == [indexes[0], indexes[2]] and silent(pushed)


def check_auto_commit_as_in_the_documentation() -> None:
    client = emptied()
    for number in range(8):
        client.put(str(number), {"task_id": f"job_{number}"})
    watcher = connect()
    running = watcher.watch(0, 5, auto_commit=True)
    seen = []
    for item in running.run():
        seen.append((item.data, item.tags.get("task_id")))
        if len(seen) == 8:
            break
    running.close()
    assert seen == [(str(number).encode(), f"job_{number}") for number in range(8)]
    until(lambda: client.attributes()["stream.length"] == "0", 2)


def check_auto_commit_does_not_run_ahead() -> None:
    client = emptied()
    for number in range(30):
        client.put(str(number))
    watcher = connect()
    running = watcher.watch(0, 5, auto_commit=True)
    assert next(running.run()).data == b"0"
    time.sleep(0.5)
    running.close()
    assert int(client.attributes()["stream.length"]) >= 24


def check_index_only() -> None:
    client = emptied()
    index, request = client.put("much data", {"task_id": "t"})
    with watching(client, 0, 5, index_only=True) as pushed:
        item = pushed.get(timeout=5)
    assert (item.index, item.data, dict(item.tags)) == (int(index), b"", {"task_id": "t", "requestId": request})


def check_watch_by_tags_and_start() -> None:
    client = emptied()
    indexes = [int(client.put(str(number), {"k": str(number % 2)})[0]) for number in range(6)]
    with watching(client, 0, 9, tags={"k": "1"}) as pushed:
        assert numbers(pushed, 3) == indexes[1::2] and silent(pushed)
    with watching(connect(gid="start"), indexes[4], 9) as pushed:
        assert numbers(pushed, 2) == indexes[4:] and silent(pushed)
    with watching(connect(gid="fresh"), -1, 9) as pushed:
        assert silent(pushed)
        fresh = int(client.put("new")[0])
        assert numbers(pushed, 1) == [fresh]


def check_results_are_pushed_at_once() -> None:
    client = emptied()
    with watching(connect(), 0, 5, auto_commit=True) as pushed:
        time.sleep(0.3)
        begin = time.monotonic()
        client.put("x")
        pushed.get(timeout=5)
        assert time.monotonic() - begin < 0.3


def check_priority_goes_first() -> None:
    client = emptied()
    normal, urgent = int(client.put("n")[0]), int(client.put("u", {"_priority_": "1"})[0])
    with watching(connect(), 0, 5) as pushed:
        assert numbers(pushed, 2) == [urgent, normal]


def check_a_group_shares_and_groups_do_not() -> None:
    client = emptied()
    ann, ben, eve = connect(), connect(), connect(gid="other")
    with watching(ann, 0, 1) as one, watching(ben, 0, 1) as two, watching(eve, 0, 9) as other:
        time.sleep(0.5)
        indexes = [int(client.put(str(number))[0]) for number in range(2)]
        assert sorted(numbers(one, 1) + numbers(two, 1)) == indexes == numbers(other, 2)
        client.commit(indexes)
        assert client.attributes()["stream.length"] == "2"
        connect(gid="other").commit(indexes)
        assert client.attributes()["stream.length"] == "0"


def check_the_same_consumer_again() -> None:
    client = emptied()
    index = int(client.put("x")[0])
    with watching(connect(uid="same"), 0, 5) as old:
        assert numbers(old, 1) == [index]
        with watching(connect(uid="same"), 0, 5) as new:
            assert numbers(new, 1) == [index]
            assert silent(old)
            assert client.attributes()["consumers.stats.total"] == "1"
        again = int(client.put("y")[0])
        found = {item.index for item in (old.get(timeout=6), old.get(timeout=6))}
        assert found == {index, again}


def check_a_watcher_that_pings_stays() -> None:
    client = emptied()
    with watching(connect(), 0, 1) as pushed:
        time.sleep(12)
        client.put("x")
        assert pushed.get(timeout=5).data == b"x" and client.attributes()["consumers.stats.total"] == "1"


# -- search and attributes


def check_search() -> None:
    client = emptied()
    indexes = [int(client.put(str(number))[0]) for number in range(3)]
    assert client.search(indexes[2])["WaitCount"] == 2 and client.search(indexes[2])["IsPending"] is False
    with watching(client, 0, 1) as pushed:
        numbers(pushed, 1)
        found = client.search(str(indexes[0]))
        assert found == {"ConsumerId": f"eas.{client.uid}", "IsPending": True, "WaitCount": 0}
        assert client.search(indexes[2])["WaitCount"] == 1
    assert client.search(10**9) == {} == client.search(0)


def check_attributes() -> None:
    client = emptied()
    told = client.attributes()
    assert told["meta.name"] == f"{SERVICE}/sink" and told["meta.maxPayloadBytes"] == "8192"
    assert told["meta.header.user"] == "X-EAS-QueueService-Redis-Uid"
    assert told["meta.header.group"] == "X-EAS-QueueService-Redis-Gid"
    assert all(isinstance(value, str) for value in told.values()) and int(told["stream.approxMaxLength"]) > 0
    client.put("x")
    with watching(client, 0, 5) as pushed:
        numbers(pushed, 1)
        told = client.attributes()
        assert told["consumers.stats.total"] == "1" and told["groups.list.[0]"].startswith("Id: eas")
        line = told["consumers.list.[0]"]
        assert line.startswith(f"Id: eas.{client.uid}, Index: ") and "Pending: 1" in line and "Window: 5" in line
        assert "AutoCommit: false" in line and "Status: Running" in line


# -- who may call, and where


def check_a_wrong_token() -> None:
    wrong = connect(token="wrong")
    for call in (
        lambda: wrong.put("x"),
        lambda: wrong.get(timeout="0s"),
        lambda: wrong.commit(1),
        lambda: wrong.delete(1),
        lambda: wrong.truncate(1),
        wrong.attributes,
    ):
        assert refusal(call) == 401
    try:
        next(wrong.watch(0, 5).run())
    except WebSocketBadStatusException as error:
        assert error.status_code == 401, error.status_code
    else:
        raise AssertionError("it was not refused")


def check_a_wrong_name() -> None:
    wrong = connect("no_such_service")
    assert refusal(lambda: wrong.put("x")) == 404
    for name, status in ((f"{SERVICE}/other", 404), ("no_such_service/sink", 404)):
        try:
            next(connect(name).watch(0, 5).run())
        except WebSocketBadStatusException as error:
            assert error.status_code == status, error.status_code
        else:
            raise AssertionError("it was not refused")


def check_wrong_parameters() -> None:
    client = connect()
    assert refusal(lambda: client.get(index="x", timeout="0s")) == 400
    assert refusal(lambda: client.get(timeout="soon")) == 400
    assert refusal(lambda: client.put("x", {"_priority_": "high"})) == 400
    assert refusal(lambda: client.delete("x")) == 400
    for window in (0, -1, "x"):
        try:
            next(client.watch(0, window).run())
        except WebSocketBadStatusException as error:
            assert error.status_code == 400, error.status_code
        else:
            raise AssertionError("it was not refused")
        client.watch_sock = None


def check_other_addresses() -> None:
    sink = emptied()
    sink.put("x")
    doubled = QueueClient(f"{URL}/api/predict/{SERVICE}", f"{SERVICE}/sink")
    doubled.set_token(TOKEN)
    doubled.init()
    assert doubled.attributes()["stream.length"] == "1"
    custom = connect("ignored", custom_url=f"{URL}/api/predict/{SERVICE}/sink")
    assert custom.get()[0].data == b"x"
    slash = QueueClient(URL.removeprefix("http://") + "/", f"{SERVICE}/sink")
    slash.set_token(TOKEN)
    slash.init()
    assert slash.attributes()["meta.name"] == f"{SERVICE}/sink"


# -- tasks


def submit(**tags: str) -> tuple[str, str]:
    body = json.dumps(SMALL | {"alwayson_scripts": {"save_dir": "outputs/eas"}})
    found: tuple[str, str] = connect(SERVICE, path_suffix="sdapi/v1/txt2img").put(body, tags)
    return found


def check_a_task_and_its_result() -> None:
    sink = emptied()
    begin = time.monotonic()
    index, request = submit(task_id="job_001")
    assert time.monotonic() - begin < 0.2 + 0.3 and index.isdecimal()
    with watching(sink, 0, 5, auto_commit=True) as pushed:
        item = pushed.get(timeout=60)
    assert item.tags["task_id"] == "job_001" and item.tags["requestId"] == request
    answer = json.loads(item.data)
    assert answer["parameters"]["status"] == 0 and "outputs/eas" in answer["parameters"]["image_url"]
    assert "lastCode" not in item.tags and len(item.data) <= 8192


def check_the_same_task_id_twice_is_two_tasks() -> None:
    sink = emptied()
    submit(task_id="twice")
    submit(task_id="twice")
    found = until(lambda: len(sink.get(length=2, timeout="0s", auto_delete=False, tags={"task_id": "twice"})) == 2)
    assert found


def check_a_task_that_cannot_be_done() -> None:
    sink = emptied()
    connect(SERVICE, path_suffix="sdapi/v1/txt2img").put(json.dumps({"steps": -1}), {"task_id": "bad"})
    (item,) = until(lambda: sink.get(timeout="2s", tags={"task_id": "bad"}))
    assert item.tags["lastCode"] == "422" and json.loads(item.data)["parameters"]["status"] != 0


def check_a_path_that_is_not_there() -> None:
    sink = emptied()
    connect(SERVICE, path_suffix="sdapi/v1/nonsense").put("{}", {"task_id": "lost"})
    (item,) = until(lambda: sink.get(timeout="2s", tags={"task_id": "lost"}))
    assert item.tags["lastCode"] == "404"


def check_the_rear_has_what_failed() -> None:
    rear = connect()
    rear.add_extra_headers({REAR: "true"})
    assert rear.attributes()["stream.length"].isdecimal()
    assert rear.attributes()["meta.name"] != f"{SERVICE}/sink"


def main() -> None:
    """Run every check, or the loop of the documentation."""
    if sys.argv[4:] == ["seed"]:
        sink = QueueClient(URL, SERVICE + "/sink")
        sink.set_token(TOKEN)
        sink.init()
        sink.set_logger()
        for item in sink.watch(0, 5, auto_commit=True).run():
            print(item.index, item.tags.get("task_id"), item.data.decode(), flush=True)
    outcome = {}
    for name, check in list(globals().items()):
        if name.startswith("check_") and name in (sys.argv[4:] or [name]):
            try:
                check()
                outcome[name] = ""
            except Exception:  # noqa: BLE001 - what went wrong is told
                outcome[name] = traceback.format_exc()
    print(json.dumps(outcome))


main()
