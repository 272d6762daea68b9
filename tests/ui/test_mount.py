"""The page among the routes: who may call it, which of gradio's routes there are, what its file routes show."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import Route

from .conftest import Paged, Serve


@pytest.fixture(scope="module")
def locked(serve: Serve) -> Paged:
    return serve("--token", "geheim", "--gradio-auth", "ada:lovelace")


def routes_of(paged: Paged) -> list[tuple[str, str]]:
    """Every route of gradio's application, with something in the place of its parameters."""
    (build,) = paged.mount._builds.values()
    found = [route for route in build.app.router.routes if isinstance(route, Route)]
    found += [
        route
        for one in build.app.router.routes
        for route in getattr(getattr(one, "original_router", None), "routes", ())
    ]
    made = [(method, route.path) for route in found for method in sorted(route.methods or ())]
    assert len(made) > 40
    return [(method, path.replace("{", "").replace("}", "").replace(":path", "")) for method, path in made]


def test_nothing_of_the_page_answers_without_credentials(locked: Paged) -> None:
    root = locked.root(authorization="geheim")
    for method, path in routes_of(locked):
        assert locked.client.request(method, root + path).status_code == 401, path
        assert locked.client.request(method, path).status_code == 401, path


def test_names_and_passwords_of_gradio_auth_open_it(locked: Paged) -> None:
    assert locked.client.get("/", auth=("ada", "lovelace")).status_code == 200
    assert locked.client.get("/", auth=("ada", "byron")).status_code == 401


def test_gradios_own_ways_to_come_in_and_to_look_elsewhere_are_not_there(paged: Paged) -> None:
    root = paged.root()
    for path in ("/login", "/token", "/user", "/dev/reload", "/monitoring", "/gradio_api/proxy=https://x.hf.space/a",
                 "/gradio_api/openapi.json", "/gradio_api/deep_link", "/gradio_api/runs", "/robots.txt",
                 "/gradio_api/mcp"):  # fmt: skip
        assert paged.client.get(root + path).status_code == 404, path
    for path in ("/gradio_api/call/x", "/gradio_api/api/x", "/login", "/gradio_api/run-history/connect"):
        assert paged.client.post(root + path, json={}).status_code == 404, path


def test_no_listener_is_offered_to_programs(paged: Paged) -> None:
    told = paged.client.get(f"{paged.root()}/gradio_api/info").json()
    assert told == {"named_endpoints": {}, "unnamed_endpoints": {}}


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Another server, and what it was asked for."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/x.png", asked
    server.shutdown()
    server.server_close()


def test_no_file_is_shown_and_nothing_is_fetched(paged: Paged, elsewhere: tuple[str, list[str]]) -> None:
    url, asked = elsewhere
    root, data = paged.root(), paged.app.settings.data_dir
    (data / "secret.png").write_bytes(b"secret")
    (paged.app.settings.state_dir / "note.txt").write_text("secret")
    for path in ("/etc/passwd", str(data / "secret.png"), str(paged.app.settings.state_dir / "note.txt"),
                 f"{paged.app.settings.state_dir}/page/../note.txt", "../../secret.png"):  # fmt: skip
        answer = paged.client.get(f"{root}/gradio_api/file={path}")
        assert answer.status_code in (403, 404), path
        assert "secret" not in answer.text.replace("secret.png", "")
    assert paged.client.get(f"{root}/gradio_api/file={url}").status_code in (403, 404)
    picture = {"path": url, "meta": {"_type": "gradio.FileData"}, "url": url, "orig_name": "x.png"}
    for data_ in ([picture], [{"background": picture, "layers": [], "composite": None}], [None, [[picture]]]):
        body = {"data": data_, "fn_index": 0, "session_hash": "s"}
        assert paged.client.post(f"{root}/gradio_api/queue/join", json=body).status_code == 403
        assert paged.client.post(f"{root}/gradio_api/run/predict", json=body).status_code == 403
    assert asked == []


def test_a_reload_is_for_pages_that_are_loaded_from_then_on(serve: Serve) -> None:
    paged = serve("--always-hide-tabs", "Extras")
    old = paged.root()
    assert "easel-tab-png_info" in paged.client.get("/").text
    assert "easel-tab-extras" not in paged.client.get("/").text
    assert '"easel-without-extras"' in paged.client.get("/").text  # nothing can be sent there
    paged.mount.reload_from_thread()
    new = paged.root()
    assert new != old
    assert paged.client.get(f"{old}/config").status_code == 200  # pages that are open go on
    for build in paged.mount._builds.values():
        build.used -= 3600
    build.used = time.monotonic()
    paged.mount.reload_from_thread()
    assert paged.client.get(f"{old}/config").status_code == 404
    assert "load it again" in paged.client.get(f"{old}/config").json()["detail"]


def test_below_a_prefix(serve: Serve) -> None:
    paged = serve("--subpath", "studio", "--always-hide-tabs", "img2img")
    answer = paged.client.get("/studio/")
    assert '"root":"http://testserver/studio/page/' in answer.text
    assert paged.client.get(f"{paged.root()}/config").status_code == 200
    assert paged.client.get("/studio/theme.css").headers["content-type"].startswith("text/css")


def test_the_page_is_made_once_for_each_address(paged: Paged) -> None:
    plain, packed = (paged.client.get("/", headers={"Accept-Encoding": one}) for one in ("identity", "gzip"))
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding, Origin"
    assert plain.text == packed.text and plain.headers["content-type"].startswith("text/html")
    assert paged.client.get("/?deep_link=x&__theme=dark").text == plain.text
    secure = paged.client.get("/", headers={"X-Forwarded-Proto": "https"})
    assert '"root":"https://testserver/page/' in secure.text and '"root":"http://testserver/page/' in plain.text
    for number in range(100):  # and not for ever for as many as somebody names
        paged.client.get("/", headers={"X-Forwarded-Host": f"{number}.example"})
    (build,) = paged.mount._builds.values()
    assert len(build.answers._kept) <= 32
    assert paged.client.get("/").text == plain.text


def test_its_files_are_packed_where_that_pays(paged: Paged) -> None:
    from gradio.route_utils import BUILD_PATH_LIB

    names = sorted(path.name for path in Path(BUILD_PATH_LIB).iterdir() if path.suffix in (".js", ".css", ".wasm"))
    for name in names[::40]:
        held = (Path(BUILD_PATH_LIB) / name).read_bytes()
        for accepted in ("identity", "gzip, deflate, br"):
            answer = paged.client.get(f"/assets/{name}", headers={"Accept-Encoding": accepted})
            assert answer.content == held and "immutable" in answer.headers["cache-control"]
        assert len(held) < 1000 or answer.headers["content-encoding"] == "gzip", name
    assert paged.client.get("/assets/..%2F..%2F..%2Froutes.py").status_code in (403, 404)
