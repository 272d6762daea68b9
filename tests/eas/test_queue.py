"""The queue protocol at a real server, call by call."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection

from .conftest import SMALL, TOKEN, Service


@pytest.fixture
def quiet(make_service: Callable[..., Service]) -> Iterator[Service]:
    """A service whose dispatcher is busy for long: what is put into the input stays there."""
    one = make_service("--job-deadline", "60")
    yield one


def parsed(message: str | bytes) -> tuple[int, dict[str, str], bytes]:
    """A DataFrameProto: index, tags, data; written after the protocol's field numbers, not after our encoder."""
    assert isinstance(message, bytes)
    index, tags, data, rest = 0, {}, b"", message

    def varint(raw: bytes) -> tuple[int, bytes]:
        value = shift = 0
        for place, byte in enumerate(raw):
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, raw[place + 1 :]
        raise AssertionError("cut off")

    def fields(raw: bytes) -> Iterator[tuple[int, Any]]:
        while raw:
            key, raw = varint(raw)
            value, raw = varint(raw)
            if key & 7 == 2:
                piece, raw = raw[:value], raw[value:]
                yield key >> 3, piece
            else:
                yield key >> 3, value

    for number, value in fields(rest):
        if number == 1:
            index = value
        elif number == 2:
            entry = dict(fields(value))
            tags[entry[1].decode()] = entry.get(2, b"").decode()
        else:
            data = value
    return index, tags, data


def received(watch: ClientConnection, timeout: float = 10) -> tuple[int, dict[str, str], bytes]:
    return parsed(watch.recv(timeout))


def nothing_comes(watch: ClientConnection, seconds: float = 0.4) -> bool:
    try:
        watch.recv(seconds)
    except TimeoutError:
        return True
    return False


def fill(service: Service, count: int, **query: Any) -> None:
    for number in range(count):
        assert service.call("POST", "sink", content=str(number), **query).status_code == 200


def test_a_task_and_its_result(service: Service) -> None:
    begin = time.monotonic()
    answer = service.call("POST", "sdapi/v1/txt2img", content=json.dumps(SMALL), task_id="job_001", colour="grün & so")
    assert time.monotonic() - begin < 5 and answer.status_code == 200 and answer.json() == 1
    assert answer.text == "1" and answer.headers["x-eas-queueservice-request-id"]
    with service.watching() as watch:
        index, tags, data = received(watch)
    result = json.loads(data)
    assert index == 1 and tags["task_id"] == "job_001" and tags["colour"] == "grün & so"
    assert tags["requestId"] == answer.headers["x-eas-queueservice-request-id"]
    assert result["images"] == [] and result["parameters"]["status"] == 0
    assert len(data) <= 8192 and Path(result["parameters"]["image_url"]).read_bytes().startswith(b"\x89PNG")
    assert service.attributes()["stream.length"] == "0"


def test_paths_and_tags_of_pai(service: Service) -> None:
    scripts = {"save_dir": "outputs/mine", "id_task": "mine", "uid": "1"}
    service.submit({"alwayson_scripts": scripts, "batch_size": 2, "n_iter": 2})
    (result,) = service.results(1)
    parameters = result["data"]["parameters"]
    paths = [Path(path) for path in parameters["image_url"].split(",")]
    assert parameters["id_task"] == "mine" and len(paths) == 5
    assert all(path.is_relative_to(service.folder / "outputs/mine") and path.is_file() for path in paths)


def test_a_task_has_a_line_in_the_ledger(service: Service) -> None:
    service.submit({"alwayson_scripts": {"uid": "cats"}})
    service.submit({"steps": -1, "alwayson_scripts": {"uid": "dogs"}})
    service.results(2)
    lines = {line["project"]: line for line in service.http.get("/easel/v1/ledger").json()["lines"]}
    done, refused = lines["cats"], lines["dogs"]
    assert (done["state"], done["service"], done["kind"], done["pictures"]) == ("done", "sd", "txt2img", 1)
    assert {"queue", "save"} <= set(done["seconds"]) and done["created"] < done["ended"]
    assert (refused["state"], refused["status"], refused["seconds"]) == ("failed", 10, {})
    assert service.http.get("/easel/v1/ledger/sums").json()["workers"]["workers"] == 1


def test_what_is_wrong_comes_through_the_sink(service: Service) -> None:
    service.submit({"steps": -1, "alwayson_scripts": {"id_task": "bad"}}, task_id="1")
    service.submit(path="sdapi/v1/nothing", task_id="2")
    service.call("POST", "sdapi/v1/txt2img", content="no json", task_id="3")
    results = {one["tags"]["task_id"]: one for one in service.results(3)}
    assert {name: one["tags"]["lastCode"] for name, one in results.items()} == {"1": "422", "2": "404", "3": "422"}
    told = results["1"]["data"]
    assert told["images"] == [] and told["parameters"]["status"] == 10 and told["parameters"]["id_task"] == "bad"
    assert "steps" in told["parameters"]["error_msg"] and "steps" in results["1"]["tags"]["lastReason"]
    assert results["2"]["data"]["parameters"]["status"] == 15
    assert service.attributes()["stream.length"] == "0"  # wrong requests are no dead letters
    assert service.call("GET", headers={"X-EAS-QueueService-Access-Rear": "true"}, count_="true").text == "0"


def test_sizes(service: Service) -> None:
    body = json.dumps(SMALL)
    fits = body[:-1] + " " * (8192 - len(body)) + "}"
    assert service.call("POST", "sdapi/v1/txt2img", content=fits).status_code == 200
    answer = service.call("POST", "sdapi/v1/txt2img", content=fits + " ")
    assert answer.status_code == 413 and "8192 bytes" in answer.text and "image_link" in answer.text
    assert service.call("POST", "sink", content=b"x" * 8193).status_code == 413
    service.submit({"n_iter": 60}, task_id="many")
    results = {one["tags"].get("task_id", ""): one for one in service.results(2)}
    many = results["many"]
    assert many["tags"]["lastCode"] == "413" and "n_iter x batch_size" in many["data"]["parameters"]["error_msg"]
    service.submit({"n_iter": 10, "prompt": "a cat, " * 60}, task_id="long")
    (long,) = service.results(1)
    parameters = long["data"]["parameters"]
    assert parameters["status"] == 0 and long["data"]["info"] == "" and "info is left out" in parameters["warnings"][-1]
    assert len(parameters["image_url"].split(",")) == 11


def test_polling(service: Service) -> None:
    assert service.call("GET", "sink", timeout_="0s").status_code == 204
    begin = time.monotonic()
    assert service.call("GET", "sink", timeout_="1s").status_code == 204
    assert 0.6 < time.monotonic() - begin < 0.95  # before the client gives up
    fill(service, 3, colour="red")
    assert service.call("GET", "sink", raw_="true", auto_delete_="false").content == b"0"
    listed = service.call("GET", "sink", length_=9, raw_="false", auto_delete_="false", timeout_="0s").json()
    assert [one["index"] for one in listed] == [1, 2, 3] and listed[0]["data"] == "MA=="
    assert service.call("GET", "sink", colour="blue", timeout_="0s").status_code == 204
    assert service.call("GET", "sink", index_=-1, raw_="true").content == b"2"  # and deletes it
    assert service.attributes("sink")["stream.length"] == "2"


@pytest.mark.parametrize(
    ("method", "stream", "query", "status"),
    [
        ("GET", "sink", {"timeout_": "soon"}, 400),
        ("GET", "sink", {"index_": "one"}, 400),
        ("GET", "sink", {"length_": "0"}, 400),
        ("GET", "sink", {"raw_": "perhaps"}, 400),
        ("GET", "sink", {"search_": "true", "index_": "7"}, 404),
        ("GET", "sink", {"watch_": "true"}, 426),
        ("GET", "sink/deeper", {}, 404),
        ("PUT", "sdapi/v1/txt2img", {"indexes_": "1"}, 404),
        ("PUT", "sink", {}, 400),
        ("PUT", "sink", {"indexes_": "1,two"}, 400),
        ("PUT", "sink", {"indexes_": "1", "negative_": "true", "content": "_code_=a b c"}, 400),
        ("DELETE", "sink", {"trunc_": "true", "index_": "x"}, 400),
        ("POST", "sink", {"eos_": "true"}, 405),
        ("POST", "sink", {"priority_": "-1"}, 400),
        ("POST", "sink", {"requestId": "not printable: ü"}, 400),
        ("POST", "sink", {"big": "x" * 5000}, 400),
        ("GET", "sink", {"group": "x" * 129, "search_": "true", "index_": "1"}, 400),
    ],
)
def test_what_cannot_be_used(module_service: Service, method: str, stream: str, query: Any, status: int) -> None:
    answer = module_service.call(method, stream, **query)
    assert answer.status_code == status and "Retry-After" not in answer.headers, answer.text


@pytest.fixture(scope="module")
def module_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    from .conftest import free_port

    one = Service(tmp_path_factory.mktemp("shared") / "data", free_port())
    one.start()
    yield one
    one.end(kill=True)
    one.http.close()


def test_who_may_call(module_service: Service) -> None:
    for stream in ("", "sink", "sdapi/v1/txt2img"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            url = f"{module_service.url}/api/predict/sd/{stream}"
            assert httpx.request(method, url, headers={"Authorization": "wrong"}).status_code == 401
    with pytest.raises(InvalidStatus) as refused, module_service.watching(token="wrong"):
        pass
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize(
    ("stream", "query", "status"),
    [("sink", {"window": "none"}, 400), ("sink", {"window": "0"}, 400), ("else", {}, 404)],
)
def test_handshakes_are_refused_plainly(module_service: Service, stream: str, query: Any, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, module_service.watching(stream, **query):
        pass
    assert refused.value.response.status_code == status


def test_a_doubled_path_counts_once(module_service: Service) -> None:
    answer = module_service.call("GET", "api/predict/sd/sink", attrs_="true")
    assert answer.status_code == 200 and answer.json()["meta.name"] == "sd/sink"
    assert module_service.http.get("/api/predict/other").status_code == 404


def test_windows_and_commits(service: Service) -> None:
    fill(service, 4)
    with service.watching(window=2) as watch:
        assert [received(watch)[0] for _ in range(2)] == [1, 2] and nothing_comes(watch)
        place = service.call("GET", "sink", search_="true", index_=1).json()
        assert place == {"ConsumerId": "eas.ann", "IsPending": True, "WaitCount": 0}
        assert service.call("GET", "sink", search_="true", index_=4).json()["WaitCount"] == 1
        about = service.attributes("sink")
        assert about["consumers.stats.total"] == "1" and about["stream.length"] == "4"
        assert "Id: eas.ann, Index: 2, Pending: 2, Status: Running" in about["consumers.list.[0]"]
        assert service.call("PUT", "sink", indexes_="1,1,99").text == "OK"
        assert received(watch)[0] == 3
        assert service.call("PUT", "sink", indexes_="2", negative_="true", content="_code_=Retry").text == "OK"
        assert received(watch)[0] == 2  # again
        service.call("DELETE", "sink", indexes_="2,3")
        assert received(watch)[0] == 4
        service.call("DELETE", "sink", index_=5, trunc_="true")
        assert service.attributes("sink")["stream.length"] == "0"
        fill(service, 1)
        assert received(watch)[0] == 5


def test_items_are_spread_and_come_again(service: Service) -> None:
    with service.watching(user="ann", window=2) as ann:
        with service.watching(user="ben", window=2) as ben:
            fill(service, 4)
            assert sorted(received(watch)[0] for watch in (ann, ann, ben, ben)) == [1, 2, 3, 4]
        service.call("PUT", "sink", indexes_="1,2,3,4", group="other")  # no business of this group
        mine = service.call("GET", "sink", search_="true", index_=1).json()["ConsumerId"]
        held = [1, 3] if mine == "eas.ann" else [2, 4]
        service.call("PUT", "sink", indexes_=",".join(map(str, held)))
        assert sorted(received(ann)[0] for _ in range(2)) == sorted({1, 2, 3, 4} - set(held))


def test_index_only_tags_and_starts(service: Service) -> None:
    fill(service, 1, colour="red")
    fill(service, 1, colour="blue")
    with service.watching(index_only="true", colour="blue") as watch:
        index, tags, data = received(watch)
        assert (index, tags["colour"], data) == (2, "blue", b"") and nothing_comes(watch)
    with service.watching(group="late", index=-1) as watch:
        assert nothing_comes(watch)
        fill(service, 1)
        assert received(watch)[0] == 3


def test_auto_commit_keeps_what_was_not_read(service: Service) -> None:
    fill(service, 30)
    with service.watching(auto_commit="true") as watch:
        assert received(watch)[0] == 1
        time.sleep(0.5)
    left = int(service.attributes("sink")["stream.length"])
    assert 20 <= left < 30
    with service.watching(auto_commit="true") as watch:
        assert [received(watch)[0] for _ in range(left)] == list(range(31 - left, 31))
        assert service.attributes("sink")["stream.length"] == "0"


def test_two_connections_of_one_name(service: Service) -> None:
    with service.watching() as old:
        fill(service, 1)
        assert received(old)[0] == 1
        with service.watching() as new:
            assert received(new)[0] == 1  # what the old one held
            fill(service, 1)
            assert received(new)[0] == 2 and nothing_comes(old)
            assert service.attributes("sink")["consumers.stats.total"] == "1"
            service.call("PUT", "sink", indexes_="1")
        assert received(old)[0] == 2  # its place is free again


def test_a_restart_goes_unnoticed(service: Service) -> None:
    fill(service, 2)
    with service.watching() as watch:
        assert received(watch)[0] == 1
    service.call("PUT", "sink", indexes_="1")
    service.end(kill=True)
    service.start()
    fill(service, 1)
    with service.watching() as watch:
        assert [received(watch)[0] for _ in range(2)] == [2, 3]


def test_once_however_often_it_is_sent(service: Service) -> None:
    headers = {"Idempotency-Key": "k1"}
    answers = [
        service.call("POST", "sdapi/v1/txt2img", content=json.dumps(SMALL), headers=headers, task_id="1")
        for _ in range(3)
    ]
    assert {answer.text for answer in answers} == {"1"}
    assert len({answer.headers["x-eas-queueservice-request-id"] for answer in answers}) == 1
    service.results(1)
    again = service.call("POST", "sdapi/v1/txt2img", content=json.dumps(SMALL), headers=headers)
    assert again.text == "1" and service.call("GET", "sink", timeout_="1s").status_code == 204
    other = service.call("POST", "sdapi/v1/txt2img", content=json.dumps(SMALL | {"seed": 2}), headers=headers)
    assert other.status_code == 409 and "Idempotency-Key" in other.text


def test_a_full_queue_refuses(make_service: Callable[..., Service]) -> None:
    service = make_service("--queue-max-length", "2")
    fill(service, 2)
    assert service.call("POST", "sink", content="x").status_code == 429
    service.submit()  # and a full sink stops the worker
    time.sleep(0.5)
    assert service.attributes()["stream.length"] == "1" and service.attributes("sink")["stream.length"] == "2"
    service.call("PUT", "sink", indexes_="1")
    for _ in range(100):
        if service.attributes()["stream.length"] == "0":
            break
        time.sleep(0.05)
    assert service.attributes()["stream.length"] == "0"


def test_beside_the_synchronous_api(service: Service) -> None:
    assert len(service.http.post("/sdapi/v1/txt2img", json=SMALL).json()["images"]) == 1
    assert service.attributes()["stream.length"] == "0"


def test_elsewhere_the_path_is_the_roots(make_service: Callable[..., Service]) -> None:
    service = make_service("--edition", "standard")
    answer = service.http.post("/api/predict/sd/sdapi/v1/txt2img?task_id=1", json=SMALL)
    assert answer.status_code == 200 and len(answer.json()["images"]) == 1
    assert service.http.get("/api/predict/other/sdapi/v1/options").status_code == 404
    told = service.http.get("/api/predict/sd/sink?_index_=0")
    assert (told.status_code, "the api edition has one" in told.json()["detail"]) == (501, True)
    assert service.http.get(
        f"{service.url}/api/predict/sd/sdapi/v1/options", headers={"Authorization": TOKEN}
    ).is_success
