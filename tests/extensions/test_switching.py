"""Switching a running service through its front door: scripts, routes, WebSockets, mounts and the API's description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from easel.values.user import User

from .conftest import Start, Write

SERVES = """
@hookimpl
def register_scripts(self): return Script("Echo", Arguments, always_on=True)
@hookimpl
def process_images(self, images, job): job.warn("echo was here")
@hookimpl
def register_routes(self, app):
    router = APIRouter(prefix="/echo")
    calls = []
    @router.get("/count")
    def count() -> dict[str, int]:
        calls.append(1)
        return {"calls": len(calls)}
    @router.websocket("/talk")
    async def talk(socket: WebSocket):
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()
    router.mount("/echo/files", PlainTextResponse("mounted"))
    return router
"""
HEAD = """
from fastapi import APIRouter, WebSocket
from pydantic import BaseModel
from starlette.responses import PlainTextResponse
class Arguments(BaseModel):
    loud: bool = False
"""
PICTURE = {"prompt": "a cat", "seed": 1, "subseed": 1, "steps": 2, "width": 64, "height": 64}


def row(client: TestClient, name: str) -> dict[str, Any]:
    rows = client.get("/sdapi/v1/extensions").json()
    return next(row for row in rows if row["name"] == name)


def switch(client: TestClient, name: str, what: str) -> dict[str, Any]:
    answer = client.post(f"/easel/v1/extensions/{name}/{what}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def warnings(client: TestClient) -> list[str]:
    answer = client.post("/sdapi/v1/txt2img", json=PICTURE)
    assert answer.status_code == 200, answer.text
    told: list[str] = json.loads(answer.json()["info"])["easel"]["warnings"]
    return told


def test_everything_comes_and_goes_without_a_restart(write: Write, start: Start) -> None:
    write("echo", SERVES, head=HEAD, enabled=False, requires=["numpy"])
    client = start()
    for calls in (None, 1, None, 1):  # the fourth time by a fresh instance
        on = calls is not None
        told = switch(client, "echo", "enable" if on else "disable")
        assert (told["enabled"], told["state"]) == (on, "enabled" if on else "disabled")
        assert ("echo was here" in warnings(client)) == on
        assert ("echo" in client.get("/sdapi/v1/scripts").json()["txt2img"]) == on
        assert ("/echo/count" in client.get("/openapi.json").json()["paths"]) == on
        answer = client.get("/echo/count")
        assert (answer.status_code, answer.json()) == ((200, {"calls": 1}) if on else (404, {"detail": "Not Found"}))
        assert client.get("/echo/files/").status_code == (200 if on else 404)
        assert client.post("/echo/count").status_code == (405 if on else 404)
        if on:
            with client.websocket_connect("/echo/talk") as socket:
                assert socket.receive_text() == "hello"
        else:
            with pytest.raises(WebSocketDisconnect), client.websocket_connect("/echo/talk"):
                pass
    again = start()  # what was switched is remembered
    assert row(again, "echo")["state"] == "enabled"


def test_a_row_has_a1111s_keys_first(write: Write, start: Start) -> None:
    write("echo", SERVES, head=HEAD, requires=["numpy"])
    told = row(start(), "echo")
    assert list(told)[:7] == ["name", "remote", "branch", "commit_hash", "version", "commit_date", "enabled"]
    assert (told["title"], told["summary"], told["requires"], told["scripts"]) == (
        "Echo",
        "a test",
        ["numpy"],
        ["Echo"],
    )
    assert told["permissions"] == {"hosts": [], "paths": [], "changes": None}


def test_a_folder_that_comes_changes_and_goes(write: Write, start: Start, root: Path) -> None:
    client = start()
    rescan = lambda: {one["name"]: one for one in client.post("/easel/v1/extensions/rescan").json()}  # noqa: E731
    folder = write("late", SERVES, head=HEAD)
    assert client.get("/echo/count").status_code == 404
    assert rescan()["late"]["state"] == "enabled"
    assert client.get("/echo/count").json() == {"calls": 1}
    manifest = (folder / "extension.toml").read_text()
    (folder / "extension.toml").write_text(
        manifest.replace('version = "1.0"', 'version = "2.0"').replace("'1.0'", "'2.0'")
    )
    (folder / "__init__.py").write_text((folder / "__init__.py").read_text().replace("/count", "/tally"))
    assert rescan()["late"]["version"] == "2.0"
    assert (client.get("/echo/count").status_code, client.get("/echo/tally").json()) == (404, {"calls": 1})
    (folder / "extension.toml").unlink()
    assert "late" not in rescan()
    assert client.get("/echo/tally").status_code == 404


def test_a_route_that_raises_names_its_extension(write: Write, start: Start) -> None:
    broken = SERVES.replace('return {"calls": len(calls)}', 'raise KeyError("/secret")')
    write("echo", broken, head=HEAD)
    answer = start().get("/echo/count")
    assert answer.status_code == 500
    assert answer.json()["error"] == "ExtensionError"
    assert "'echo' failed in GET /echo/count" in answer.json()["detail"]


def test_a1111s_options_switch_too(write: Write, start: Start) -> None:
    write("echo", SERVES, head=HEAD)
    client = start()
    for options, state in (
        ({"disabled_extensions": ["echo"]}, "disabled"),
        ({"disabled_extensions": []}, "enabled"),
        ({"disable_all_extensions": "extra"}, "disabled"),
        ({"disable_all_extensions": "none"}, "enabled"),
    ):
        assert client.post("/sdapi/v1/options", json=options).status_code == 200
        assert client.get("/sdapi/v1/options").json().items() >= options.items()
        assert row(client, "echo")["state"] == state
        assert row(client, "lora")["state"] == "enabled"
    client.post("/sdapi/v1/options", json={"disable_all_extensions": "all"})
    assert row(client, "lora")["reason"] == "switched off by disable_all_extensions (all)"
    answer = client.post("/sdapi/v1/options", json={"disabled_extensions": ["ecko"]})
    assert answer.status_code == 422 and "did you mean 'echo'" in answer.json()["detail"]


@pytest.mark.parametrize(("flag", "own", "added"), [("all", "disabled", "disabled"), ("extra", "enabled", "disabled")])
def test_a1111s_flags_switch_off(flag: str, own: str, added: str, write: Write, start: Start) -> None:
    write("echo", SERVES, head=HEAD)
    client = start(f"--disable-{flag}-extensions")
    assert (row(client, "lora")["state"], row(client, "echo")["state"]) == (own, added)


def test_settings_are_changed_and_kept(write: Write, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    head = """
    from pydantic import BaseModel, Field
    class Model(BaseModel):
        word: str = "hello"
        times: int = Field(1, ge=1, le=9)
    """
    hook = "def process_images(self, images, job): job.warn(self.settings.word * self.settings.times)"
    write("echo", f"settings_model = Model\n@hookimpl\n{hook}", head=head)
    write("off", enabled=False)
    client = start()
    path = "/easel/v1/extensions/echo/settings"

    def put(values: dict[str, object], on: str = path) -> tuple[int, str]:
        answer = client.put(on, json=values)
        return answer.status_code, answer.json().get("detail", "")

    told = client.get(path).json()
    assert (told["values"], told["fixed"]) == ({"word": "hello", "times": 1}, [])
    assert told["schema"]["properties"]["times"]["maximum"] == 9
    assert put({"times": 2})[0] == 200
    assert "hellohello" in warnings(client)
    for values, words in ({"time": 2}, "times"), ({"times": 10}, "settings.times"), ({"times": "x"}, "settings.times"):
        status, detail = put(values)
        assert status == 422
        assert words in detail
    assert client.get(path).json()["values"] == {"word": "hello", "times": 2}
    assert put({"x": 1}, "/easel/v1/extensions/off/settings")[0] == 409
    assert put({}, "/easel/v1/extensions/nobody/settings")[0] == 404
    monkeypatch.setenv("EASEL_EXT_ECHO__WORD", "ahoy")
    client = start()  # what was stored is remembered, the environment comes first
    told = client.get(path).json()
    assert (told["values"], told["fixed"]) == ({"word": "ahoy", "times": 2}, ["word"])
    assert put({"word": "hi"})[0] == 422
    assert put({})[0] == 200
    assert "ahoy" in warnings(client)


def test_only_operators_switch(write: Write, start: Start) -> None:
    write("users", "@hookimpl\ndef authenticate(self, request): return User(request.headers['x-user'], admin=False)")
    client = start()
    client.headers["x-user"] = "ann"
    for path in ("lora/disable", "lora/enable", "rescan"):
        answer = client.post(f"/easel/v1/extensions/{path}")
        assert (answer.status_code, answer.json()["detail"]) == (403, "only operators of this service may do this")
    assert row(client, "lora")["enabled"]
    assert User("ann").admin is False


def test_an_unknown_name_is_not_found(start: Start) -> None:
    answer = start().post("/easel/v1/extensions/laura/enable")
    assert answer.status_code == 404 and "did you mean 'lora'" in answer.json()["detail"]
