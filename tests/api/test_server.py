"""Around the routes: headers, log lines, pages, prefixes, and callers that hang up."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import uvicorn
from starlette.testclient import WebSocketDenialResponse

from easel.api.server import create_api
from easel.values.job import JobState

from .conftest import Serve, Service

SMALL = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", None, "application/json; charset=utf-8"]
)
def test_json_under_the_names_clients_give_it(service: Service, kind: str | None) -> None:
    """`curl -d '{…}'` calls its JSON a form."""
    headers = {"content-type": kind} if kind else {}
    answer = service.client.post("/sdapi/v1/txt2img", content=json.dumps(SMALL), headers=headers)
    assert answer.status_code == 200, answer.text


def test_plain_text_is_no_json(service: Service) -> None:
    answer = service.client.post("/sdapi/v1/txt2img", content=json.dumps(SMALL), headers={"content-type": "text/plain"})
    assert answer.status_code == 422


def test_another_site_cannot_call_behind_the_users_back(serve: Serve) -> None:
    """A form's content type needs no preflight, so a page of another site could send it."""
    service = serve("--cors-allow-origins", "https://good.example")
    form = {"content-type": "application/x-www-form-urlencoded"}
    for origin, expected in (("https://evil.example", 403), ("https://good.example", 200), ("http://testserver", 200)):
        answer = service.client.post("/sdapi/v1/txt2img", content=json.dumps(SMALL), headers=form | {"origin": origin})
        assert answer.status_code == expected, origin


def test_an_open_server_is_not_reached_by_a_strangers_name(serve: Serve) -> None:
    """DNS rebinding: a name of the Internet that points at this machine makes our answers the stranger's to read."""
    allowed = ("--cors-allow-origins", "https://studio.example")
    service, guarded = serve(*allowed), serve("--token", "secret")
    known = ("localhost:7860", "127.0.0.1:7860", "[::1]:7860", "host.docker.internal:7860", "gateway", "studio.example")
    for host in known:
        assert service.client.get("/sdapi/v1/samplers", headers={"host": host}).status_code == 200, host
    for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "evil.example.", "1.2.3.4.5"):
        answer = service.client.get("/sdapi/v1/samplers", headers={"host": host})
        assert (answer.status_code, "--cors-allow-origins" in answer.text) == (403, True), host
        assert (
            guarded.client.get("/sdapi/v1/samplers", headers={"host": host, "authorization": "secret"}).status_code
            == 200
        )
    with pytest.raises(WebSocketDenialResponse):
        service.client.websocket_connect("/no/such", headers={"host": "evil.example"}).__enter__()


def test_cors(serve: Serve) -> None:
    asked = {"origin": "https://good.example", "access-control-request-method": "POST"}
    path = "/sdapi/v1/txt2img"
    assert serve("--token", "x").client.options(path, headers=asked).status_code == 400
    answer = serve("--token", "x", "--cors-allow-origins-regex", r"https://.*\.example").client.options(
        path, headers=asked
    )
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://good.example")
    assert answer.headers["access-control-allow-credentials"] == "true"


def test_time_and_compression(service: Service) -> None:
    large = service.client.get("/sdapi/v1/options")
    assert float(large.headers["x-process-time"]) >= 0
    assert large.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in service.client.get("/internal/ping").headers
    assert float(service.client.get("/no/such").headers["x-process-time"]) >= 0


def test_slashes(service: Service) -> None:
    assert service.client.get("http://testserver//sdapi/v1/samplers").status_code == 200
    assert service.client.get("/sdapi/v1/samplers/", follow_redirects=False).status_code == 307
    assert service.client.head("/sdapi/v1/samplers").status_code == 405


def test_api_log_and_time_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    service = serve("--api-log", "--time-log")
    with caplog.at_level(logging.INFO, "easel.api"):
        service.post("txt2img", SMALL)
        service.client.get("/sdapi/v1/nothing")
    lines = [record.getMessage() for record in caplog.records if record.name == "easel.api"]
    assert any(line.startswith("POST /sdapi/v1/txt2img 200 ") for line in lines)
    assert any(line.startswith("GET /sdapi/v1/nothing 404 ") for line in lines)
    assert any(line.startswith("job ") and "save" in line for line in lines)


def test_pages(serve: Serve, service: Service) -> None:
    assert service.client.get("/docs").status_code == 200
    paths = service.client.get("/openapi.json").json()["paths"]
    assert "/sdapi/v1/txt2img" in paths
    without = service.client.get("/")
    assert (without.status_code, "--nowebui" in without.json()["detail"]) == (404, True)
    assert service.client.get("/internal/ping").json() == {}


def test_the_api_can_be_switched_off(serve: Serve) -> None:
    service = serve("--no-api")
    answer = service.client.get("/sdapi/v1/options")
    assert (answer.status_code, "--no-api" in answer.json()["detail"]) == (404, True)


def test_a_prefix(serve: Serve) -> None:
    service = serve("--subpath", "easel", "--token", "x")
    headers = {"authorization": "x"}
    for path in ("/easel/sdapi/v1/samplers", "/sdapi/v1/samplers"):
        assert service.client.get(path, headers=headers).status_code == 200
        assert service.client.get(path).status_code == 401
    assert service.client.get("/easel/internal/ping").json() == {}
    assert "/easel/openapi.json" in service.client.get("/easel/docs", headers=headers).text
    assert service.client.get("/other/sdapi/v1/samplers", headers=headers).status_code == 404


def test_routes_of_an_extension(serve: Serve) -> None:
    folder = serve().data / "extensions" / "hello"
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text(
        'name = "hello"\ntitle = "Hello"\nversion = "1.0"\nsummary = "Says so."\nentry = "Hello"\neasel = ">=0.1"\n'
    )
    (folder / "__init__.py").write_text(
        "from fastapi import APIRouter\n"
        "from easel import Extension, hookimpl\n"
        "class Hello(Extension):\n"
        "    @hookimpl\n"
        "    def register_routes(self, app):\n"
        "        router = APIRouter()\n"
        "        router.add_api_route('/hello', lambda: 'hello')\n"
        "        return router\n"
    )
    again = serve("--token", "x")
    assert again.client.get("/hello").status_code == 401
    assert again.client.get("/hello", headers={"authorization": "x"}).json() == "hello"


def test_a_fault_of_ours_tells_no_paths(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError(2, "No such file", "/secret/place")

    monkeypatch.setattr(service.app.store, "checkpoints", broken)
    answer = service.client.get("/sdapi/v1/sd-models")
    assert (answer.status_code, answer.json()["error"]) == (500, "FileNotFoundError")
    assert "/secret" not in answer.text


@contextmanager
def listening(service: Service) -> Iterator[int]:
    """The same application behind a real socket; the port."""
    server = uvicorn.Server(uvicorn.Config(create_api(service.app), port=0, lifespan="off", log_config=None))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def test_a_caller_that_hangs_up_frees_the_place(serve: Serve) -> None:
    service = serve("--max-jobs-in-flight", "1", step_seconds=0.01)
    with listening(service) as port:
        caller = http.client.HTTPConnection("127.0.0.1", port)
        caller.request("POST", "/sdapi/v1/txt2img", json.dumps(SMALL | {"steps": 1000, "force_task_id": "left"}))
        for _ in range(1000):
            if (job := service.app.jobs.find("left")) and service.app.jobs.state(job) is JobState.RUNNING:
                break
            time.sleep(0.01)
        caller.close()
        other = http.client.HTTPConnection("127.0.0.1", port, timeout=8)  # the whole job would take 10 s
        other.request("POST", "/sdapi/v1/txt2img", json.dumps(SMALL))
        assert other.getresponse().status == 200
        other.close()
        assert job is not None
        assert service.app.jobs.state(job) is JobState.CANCELLED


def test_the_server_answers_soon_after_its_start(tmp_path: Path) -> None:
    """In time of the processor: what the clock shows on an idle machine. It also stops when it is told to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--nowebui", "--port", str(port), "--data-dir", str(tmp_path)]
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "easel", "serve", *flags], stderr=subprocess.PIPE, text=True)
    try:
        while time.monotonic() - begin < 30:
            try:
                caller = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                caller.request("GET", "/internal/ping")
                assert caller.getresponse().read() == b"{}"
                break
            except OSError:
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.05)
            finally:
                caller.close()
        used = psutil.Process(process.pid).cpu_times()
    finally:
        process.terminate()
        process.wait(30)
        assert process.stderr is not None
        process.stderr.close()
    assert used.user + used.system < 3
    assert process.returncode in (0, -15)
