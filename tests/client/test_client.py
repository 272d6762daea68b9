"""`easel.client`, sync and async, against a real server; and what it is made of."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from easel.client import AsyncClient, Client, NotYet, Refused, Task, TaskFailed, TaskGone, Unreachable, WrongAddress
from easel.client.address import Address
from easel.client.frames import read_frame

from ..conftest import QueueServer

SMALL = {"prompt": "a cat", "steps": 1, "width": 64, "height": 64}
LONG = SMALL | {"steps": 150, "width": 256, "height": 256}
WAIT = 90.0  # seconds: a fresh worker loads its models


@pytest.fixture
def client(queue_server: QueueServer) -> Iterator[Client]:
    with Client(queue_server.url, queue_server.token, queue_server.service) as made:
        for result in made.results():
            made.take(result)
        yield made


def anew(server: QueueServer, group: str = "eas", patience: float = 30.0) -> Client:
    return Client(f"{server.url}/api/predict/{server.service}", server.token, group=group, patience=patience)


class TestTasks:
    def test_a_task_from_its_submission_to_its_picture(self, client: Client) -> None:
        task = client.submit("txt2img", SMALL, task_id="cat 1/ä", tags={"team": "blue"})
        result = client.wait(task, WAIT)
        assert (result.task_id, result.request_id, result.tags["team"]) == ("cat 1/ä", task.request_id, "blue")
        assert result.status == 200 and not result.failed and result.parameters["status"] == 0
        (path,) = result.paths
        assert client.picture(path).startswith(b"\x89PNG")
        assert client.results() == []  # it was taken
        assert client.progress(task).state == "gone"

    def test_what_failed_is_an_exception(self, client: Client) -> None:
        with pytest.raises(TaskFailed, match="steps") as caught:
            client.wait(client.submit("txt2img", {"steps": -1}), WAIT)
        assert caught.value.status == 422 and caught.value.result.failed

    def test_a_key_makes_one_task_and_a_name_does_not(self, client: Client) -> None:
        key = f"key-{time.time()}"
        first, again = (client.submit("txt2img", SMALL, idempotency_key=key) for _ in range(2))
        other, twin = (client.submit("txt2img", SMALL, task_id="twin") for _ in range(2))
        assert first == again and other.index != twin.index
        with pytest.raises(Refused) as caught:
            client.submit("txt2img", SMALL | {"steps": 2}, idempotency_key=key)
        assert caught.value.status == 409
        for task in (first, other, twin):
            client.wait(task, WAIT)

    def test_other_paths_of_the_api(self, client: Client) -> None:
        result = client.wait(client.submit("/sdapi/v1/options", b"{}"), WAIT)
        assert result.status == 200

    def test_a_result_may_be_left_in_the_sink(self, client: Client) -> None:
        task = client.submit("txt2img", SMALL)
        assert client.wait(task, WAIT, keep=True) == client.wait(task, WAIT, keep=True)
        assert client.progress(task).state == "finished"
        client.take(client.wait(task, keep=True))
        with pytest.raises(TaskGone):
            client.wait(task, 30)

    def test_progress_and_cancel(self, client: Client) -> None:
        running, waiting = client.submit("txt2img", LONG), client.submit("txt2img", LONG)
        until = time.monotonic() + WAIT
        while client.progress(running).step < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert client.progress(running).steps == 150 and client.progress(running).state == "running"
        assert client.progress(waiting).state == "waiting"
        with pytest.raises(NotYet):
            client.wait(running, 0.3)
        assert client.cancel(waiting) is True and client.cancel(running) is True
        with pytest.raises(TaskGone):
            client.wait(waiting, 60)
        with pytest.raises(TaskFailed) as caught:
            client.wait(running, WAIT)
        assert caught.value.status == 409
        assert client.cancel(running) is False

    def test_pictures_at_once(self, client: Client) -> None:
        made = client.txt2img(**SMALL, batch_size=2, seed=5)
        assert made.info["all_seeds"] == [5, 6] and made.open(1).size == (64, 64)
        with pytest.raises(Refused, match="steps"):
            client.txt2img(steps=-1)


class TestStream:
    def test_results_come_in_order_and_only_once(self, client: Client) -> None:
        names = [client.submit("txt2img", SMALL, task_id=f"s{number}").task_id for number in range(4)]
        seen = []
        with closing(client.stream(window=2)) as results:
            for result in results:
                seen.append(result.task_id)
                if len(seen) == 4:
                    client.commit(result)
                    break
        assert seen == names and client.results() == []

    def test_what_was_not_handled_comes_again(self, client: Client, queue_server: QueueServer) -> None:
        for number in range(2):
            client.submit("txt2img", SMALL, task_id=f"r{number}")
        with suppress(KeyError), closing(client.stream()) as results:
            for result in results:
                raise KeyError(result.task_id)
        with anew(queue_server) as other:
            assert [result.task_id for result in other.stream(idle=3)] == ["r0", "r1"]

    def test_only_some(self, client: Client) -> None:
        for team in ("red", "blue"):
            client.wait(client.submit("txt2img", SMALL, tags={"team": team}), WAIT, keep=True)
        assert [result.tags["team"] for result in client.stream(tags={"team": "blue"}, idle=1)] == ["blue"]
        assert [result.tags["team"] for result in client.results()] == ["red"]

    def test_a_restart_in_the_middle(self, client: Client, queue_server: QueueServer) -> None:
        client.submit("txt2img", SMALL, task_id="before")
        with closing(client.stream()) as results:
            assert next(results).task_id == "before"
            queue_server.kill()
            starting = threading.Timer(1.0, queue_server.start)
            starting.start()
            task = client.submit("txt2img", SMALL, task_id="after")  # waits for the server
            assert next(results).task_id == "after"
            starting.join()
            client.commit(client.wait(task, keep=True))
        assert client.results() == []


def test_the_same_without_blocking(queue_server: QueueServer, client: Client) -> None:
    async def use() -> None:
        async with AsyncClient(queue_server.url, queue_server.token, queue_server.service) as service:
            tasks = await asyncio.gather(*(service.submit("txt2img", SMALL, task_id=f"a{n}") for n in range(3)))
            results = await asyncio.gather(*(service.wait(task, WAIT) for task in tasks))
            assert [result.task_id for result in results] == ["a0", "a1", "a2"]
            assert (await service.picture(results[0].paths[0])).startswith(b"\x89PNG")
            await service.submit("txt2img", SMALL, task_id="b")
            assert [result.task_id async for result in service.stream(idle=4)] == ["b"]
            long = await service.submit("txt2img", LONG)
            assert (await service.progress(long)).state in ("waiting", "running")
            assert await service.cancel(long) in (True, False)
            assert (await service.txt2img(**SMALL)).open().size == (64, 64)
            assert any(job["state"] == "done" for job in await service.jobs())

    asyncio.run(use())


class TestMistakes:
    def test_a_wrong_token(self, queue_server: QueueServer) -> None:
        with Client(queue_server.url, "wrong", queue_server.service) as wrong:
            for call in (lambda: wrong.submit("txt2img", SMALL), lambda: next(wrong.stream())):
                with pytest.raises(Refused) as caught:
                    call()
                assert caught.value.status == 401

    def test_nobody_is_there(self) -> None:
        with Client("http://127.0.0.1:9", patience=0.3) as lost:
            for call in (lambda: lost.submit("txt2img", SMALL), lambda: next(lost.stream())):
                begin = time.monotonic()
                with pytest.raises(Unreachable):
                    call()
                assert 0.3 <= time.monotonic() - begin < 3

    def test_addresses(self) -> None:
        def address(url: str, service: str = "") -> str:
            return Address.of(url, "", service, "eas", 1.0).queue("sink", {"a": 1})

        assert address("http://h/p/") == "/api/predict/easel/sink?a=1"
        assert address("https://h/p/api/predict/sd/sink") == address("http://h", "sd") == "/api/predict/sd/sink?a=1"
        assert Address.of("https://h/p", "", "", "eas", 1.0).watch(5, {}, 0).startswith("wss://h/p/api/predict/easel/")
        for url, service in (("127.0.0.1:7860", ""), ("http://h/api/predict/a", "b")):
            with pytest.raises(WrongAddress):
                address(url, service)


def test_frames() -> None:
    assert read_frame(bytes.fromhex("0801120a0a01611205 68656c6c6f 1a0178")) == (1, {"a": "hello"}, b"x")
    assert read_frame(b"\x08\x80\x80\x01\x2a\x01z") == (1 << 14, {}, b"")  # an unknown field
    for broken in (b"\x1a\x05ab", b"\x08", b"\x08\xff", b"\x0b", b"\xff" * 12):
        with pytest.raises(ValueError, match="no item"):
            read_frame(broken)


def test_the_client_imports_nothing_of_ours() -> None:
    code = "import sys, easel.client; print([n for n in sys.modules if n.partition('.')[0] == 'easel'])"
    named = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "easel.client" in named and all(n == "easel" or n.startswith("easel.client") for n in eval(named))
    code = "import sys, easel; print(sorted({'httpx2', 'websockets', 'easel.client'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_task_is_told_by_its_name() -> None:
    assert str(Task(1, "r", "t")) == "t" and str(Task(1, "r")) == "r"
