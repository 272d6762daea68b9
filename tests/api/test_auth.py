"""Who may call."""

from __future__ import annotations

import base64
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from easel.api.auth import Credentials
from easel.api.sessions import SECONDS, Sessions
from easel.cli import main
from easel.errors import Unauthorized
from easel.settings import read_settings

from .conftest import Serve, Service


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def status(service: Service, headers: dict[str, str], path: str = "/sdapi/v1/options") -> int:
    return service.client.get(path, headers=headers).status_code


def test_without_credentials_anybody_may_call(service: Service) -> None:
    for headers in ({}, {"Authorization": ""}, basic("", ""), {"Authorization": "anything"}):
        assert status(service, headers) == 200


def test_names_and_passwords(serve: Serve, recorded: Callable[[str], Any]) -> None:
    service = serve("--api-auth", "anna:pa:ss,bert:word")
    assert status(service, basic("anna", "pa:ss")) == status(service, basic("bert", "word")) == 200
    for headers, name in (({}, "auth_none"), (basic("anna", "word"), "auth_wrong")):
        answer = service.client.get("/sdapi/v1/samplers", headers=headers)
        assert (answer.status_code, answer.json()) == (401, recorded(f"api/{name}")["body"])
        assert answer.headers["www-authenticate"].startswith("Basic")
    for header in ("", "   ", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Bearer word"):
        assert status(service, {"Authorization": header}) == 401


def test_every_route_but_the_ping_is_guarded(serve: Serve) -> None:
    service = serve("--token", "secret")
    answer = service.client.get("/openapi.json", headers={"Authorization": "secret"}).json()
    paths = [(verb, path) for path, verbs in answer["paths"].items() for verb in verbs]
    assert len(paths) > 20
    for verb, path in [*paths, ("get", "/docs"), ("get", "/openapi.json"), ("get", "/"), ("get", "/no/such")]:
        expected = 200 if path == "/internal/ping" else 401
        assert service.client.request(verb, path).status_code == expected, path


def test_a_refused_call_is_refused_before_its_body_is_read(serve: Serve) -> None:
    service = serve("--token", "secret")
    assert service.client.post("/sdapi/v1/txt2img", content="{").status_code == 401


def test_a_token_bare_or_as_bearer_or_as_password(serve: Serve) -> None:
    service = serve("--token", "secret-ü")
    for header in ("secret-ü", "Bearer secret-ü", basic("any", "secret-ü")["Authorization"]):
        assert service.client.get("/sdapi/v1/options", headers={"Authorization": header.encode()}).status_code == 200
    for header in ("secret", "secret-ü2", "Bearer", "bearer x", basic("secret-ü", "x")["Authorization"]):
        assert service.client.get("/sdapi/v1/options", headers={"Authorization": header.encode()}).status_code == 401


def test_a_server_for_others_makes_itself_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = read_settings(["--listen", "--data-dir", str(tmp_path)], {})
    credentials = Credentials.of(settings)
    file = tmp_path / ".easel" / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(credentials.token) > 40
    assert credentials.token in capsys.readouterr().out
    assert Credentials.of(settings) == credentials
    assert capsys.readouterr().out == ""
    with pytest.raises(Unauthorized):
        credentials.check("")
    assert credentials.token not in repr(credentials)


@pytest.mark.parametrize(
    "flags", [[], ["--listen", "--no-auth"], ["--server-name", "localhost"], ["--server-name=::1"]]
)
def test_no_token_where_none_is_needed(tmp_path: Path, flags: list[str]) -> None:
    assert Credentials.of(read_settings([*flags, "--data-dir", str(tmp_path)], {})) == Credentials()
    assert not (tmp_path / ".easel").exists()


def test_names_and_passwords_stand_instead_of_a_made_token(tmp_path: Path) -> None:
    settings = read_settings(["--listen", "--api-auth", "a:b", "--data-dir", str(tmp_path)], {})
    assert Credentials.of(settings) == Credentials(passwords=(("a", "b"),))


def test_an_authenticate_hook_decides_first(serve: Serve) -> None:
    service = serve("--token", "secret")
    folder = service.data / "extensions" / "door"
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text(
        'name = "door"\ntitle = "Door"\nversion = "1.0"\nsummary = "Lets one in."\nentry = "Door"\neasel = ">=0.1"\n'
    )
    (folder / "__init__.py").write_text(
        "from easel import Extension, hookimpl\n"
        "from easel.values.user import User\n"
        "class Door(Extension):\n"
        "    @hookimpl\n"
        "    def authenticate(self, request):\n"
        "        return User('anna') if request.headers.get('x-key') == 'open' else None\n"
    )
    again = serve("--token", "secret")
    assert [one.state for one in again.app.extensions.list() if one.name == "door"] == ["enabled"]
    assert status(again, {"x-key": "open"}) == 200
    assert status(again, {"x-key": "closed"}) == 401
    again.client.post("/sdapi/v1/txt2img", json={"steps": 1, "force_task_id": "t"}, headers={"x-key": "open"})
    job = again.app.jobs.find("t")
    assert job is not None
    assert job.user == "anna"


BROWSER = {"Accept": "text/html,application/xhtml+xml", "Origin": "http://testserver"}


def log_in(service: Service, **form: str) -> Any:
    return service.client.post("/login", data=form, headers=BROWSER, follow_redirects=False)


def test_a_browser_is_asked_once(serve: Serve) -> None:
    service = serve("--token", "secret")
    asked = service.client.get("/", headers=BROWSER)
    assert asked.status_code == 401 and 'action="/login"' in asked.text and "www-authenticate" not in asked.headers
    wrong = log_in(service, username="", password="guess")
    assert wrong.status_code == 401 and "Incorrect username or password" in wrong.text
    right = log_in(service, username="", password="secret")
    assert (right.status_code, right.headers["location"]) == (303, "/")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "secret" not in cookie
    assert status(service, {}) == 200  # the client keeps the cookie
    service.client.post("/logout", headers=BROWSER, follow_redirects=False)
    assert status(service, {}) == 401


def test_a_program_logs_in_as_in_gradio(serve: Serve) -> None:
    client = serve("--api-auth", "anna:word").client
    assert client.post("/login", data={"username": "anna", "password": "no"}).status_code == 401
    answer = client.post("/login", data={"username": "anna", "password": "word"})
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert client.get("/sdapi/v1/samplers").status_code == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "http://testserver"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, 403),
        ({}, 403),
        ({"Origin": "http://evil.example", "Authorization": "secret"}, 200),  # says who it is without the cookie
    ],
)
def test_a_cookie_does_not_speak_for_other_sites(serve: Serve, headers: dict[str, str], expected: int) -> None:
    service = serve("--token", "secret")
    log_in(service, password="secret")
    answer = service.client.post("/sdapi/v1/options", json={}, headers=headers)
    assert answer.status_code == expected


@pytest.mark.parametrize("spoilt", ["", "x", "a.b.c", "..", "YW5uYQ==.9999999999.0", "ü.1.x", "YW5uYQ==.abc.x"])
def test_forged_cookies(serve: Serve, spoilt: str) -> None:
    service = serve("--token", "secret")
    header = {"Cookie": f"easel-session={spoilt}".encode()}
    assert service.client.get("/sdapi/v1/options", headers=header).status_code == 401


def test_cookies_end(tmp_path: Path) -> None:
    sessions = Sessions.of(tmp_path, "secret")
    assert Sessions.of(tmp_path, "secret").user(sessions.cookie("änna")) == "änna"  # after a restart too
    assert sessions.user(sessions.cookie("anna", now=time.time() - SECONDS - 1)) is None
    assert Sessions.of(tmp_path, "changed").user(sessions.cookie("anna")) is None
    assert stat.S_IMODE((tmp_path / "session-key").stat().st_mode) == 0o600


def test_so_many_calls_a_minute(serve: Serve) -> None:
    service = serve("--token", "secret", "--rate-limit", "3")

    def change(header: str) -> int:
        return service.client.post("/sdapi/v1/options", json={}, headers={"Authorization": header}).status_code

    assert [change("secret") for _ in range(4)] == [200, 200, 200, 429]
    answer = service.client.post("/sdapi/v1/interrupt", headers={"Authorization": "secret"})
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 20
    assert status(service, {"Authorization": "secret"}) == 200  # reading is free
    assert change("Bearer secret") == 200  # each credential has its own allowance


def test_info_shows_the_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = Credentials.of(read_settings(["--listen", "--data-dir", str(tmp_path)], {})).token
    capsys.readouterr()
    assert main(["info", "--data-dir", str(tmp_path)]) == 0
    assert f"token   {token}" in capsys.readouterr().out


def test_websockets_have_their_decision(serve: Serve) -> None:
    service = serve("--token", "secret")
    for headers in ({}, {"Authorization": "wrong"}):
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            service.client.websocket_connect("/any", headers=headers),
        ):
            pass
        assert denied.value.status_code == 401
    accepted = {"Authorization": "secret"}
    with pytest.raises(WebSocketDisconnect) as refused, service.client.websocket_connect("/any", headers=accepted):
        pass
    assert refused.value.code == 1000  # who may call finds no such route
    log_in(service, password="secret")
    own, foreign = {"Origin": "http://testserver"}, {"Origin": "http://evil.example"}
    with pytest.raises(WebSocketDisconnect) as refused, service.client.websocket_connect("/any", headers=own):
        pass
    assert refused.value.code == 1000
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        service.client.websocket_connect("/any", headers=foreign),
    ):
        pass
    assert denied.value.status_code == 403


HIDDEN = ("/docs", "/redoc", "/openapi.json", "/", "/file=outputs/a.png", "/logout", "/no/such/path", "/static/x.js")


@pytest.mark.parametrize("flags", [("--token", "secret"), ("--api-auth", "anna:secret"), ("--listen",)])
def test_the_matrix_of_routes_and_credentials(serve: Serve, flags: tuple[str, ...]) -> None:
    """Every route the application has, asked by nobody, by somebody wrong and by somebody right."""
    service = serve(*flags)
    token = (service.data / ".easel" / "token").read_text().strip() if flags == ("--listen",) else "secret"
    right = basic("anna", token)
    described = service.client.get("/openapi.json", headers=right).json()["paths"]
    routes = [(verb, path) for path, verbs in described.items() for verb in verbs]
    routes += [(verb, path) for path in HIDDEN for verb in ("get", "post", "put", "delete", "patch", "head")]
    for verb, path in routes:
        if path == "/internal/ping":
            continue
        for headers in ({}, {"Authorization": ""}, basic("anna", "wrong"), {"Authorization": "Bearer wrong"}):
            answer = service.client.request(verb, path, headers=headers)
            assert answer.status_code == 401, (verb, path, headers)
            assert answer.headers["www-authenticate"].startswith("Basic")
    assert service.client.get("/docs", headers=right).status_code == 200
    assert service.client.get("/no/such/path", headers=right).status_code == 404
