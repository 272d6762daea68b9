"""One user walks every route with the names of another's things; what comes back, and what becomes of the other's."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx2 as httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from easel.testing.isolation.belongings import Belongings, Person, give, take_back
from easel.testing.isolation.calls import Asked, calls_of, deeper
from easel.testing.isolation.routes import Route

_LONGEST = 4 << 20  # bytes of an answer that are read
_PATIENCE = 3.0  # seconds that the next part of an answer, or of a WebSocket, is waited for
_ENDING = ("/sdapi/v1/server-stop", "/sdapi/v1/server-kill")
_OPEN = ("/internal/ping", "/login")  # answered to strangers
_ACTS = re.compile(r'data-act=\\?["\']([\w-]+)')


@dataclass(frozen=True, slots=True)
class Crossing:
    """A route that one user's things left by, or were reached through."""

    route: str
    call: str
    what: str

    def __str__(self) -> str:
        return f"{self.route}: {self.what}\n    by {self.call[:300]}"


@dataclass(slots=True)
class Walked:
    """What came of a walk. `answered`: calls with a status below 300, by route; `left`: why a route was not walked."""

    crossings: list[Crossing] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Walk:
    """`stranger` walks, `nobody` does not say who they are; `victim` is the other's.

    `pages` are where the pages of both live ("" without one).
    """

    stranger: Person
    nobody: httpx.Client
    victim: Belongings
    schemas: Mapping[str, Any]
    pages: tuple[str, str] = ("", "")
    walked: Walked = field(default_factory=Walked)

    def over(self, routes: Sequence[Route]) -> Walked:
        """All of them."""
        before = self.victim.state()
        for route in routes:
            if route.path in _ENDING:
                self.walked.left[str(route)] = "it would end the service; only operators may call it"
                continue
            self.walked.calls[str(route)] = self.walked.answered[str(route)] = 0
            match route.method:
                case "PAGE":
                    self._page(route)
                case "WEBSOCKET":
                    self._websocket(route)
                case _:
                    for asked in calls_of(route, self.victim.names, self.schemas):
                        self._ask(route, asked)
                    self._unnamed(route)
            before = self._compare(str(route), before)
        for asked in deeper(self.victim.handles):
            self._ask(Route(asked.method, asked.path), asked)
        self._compare("requests of pictures", before)
        return self.walked

    def _compare(self, route: str, before: str) -> str:
        if self.victim.state() != before:
            self.walked.crossings.append(Crossing(route, "one of its calls", "the other's things are not as they were"))
            former = self.victim
            take_back(former)  # its running jobs would leave the walker no place to work
            self.victim = give(former.owner, self.pages[0])  # for the routes that follow
            self.victim.remember(former)
        return self.victim.state()

    def _ask(self, route: Route, asked: Asked, http: httpx.Client | None = None) -> None:
        """One call; an answer that does not end is read for a while."""
        body, status = b"", 0
        content = None if asked.body is None else json.dumps(asked.body).encode()
        headers = {"Content-Type": "application/json"} if content is not None else {}
        with suppress(httpx.HTTPError), (http or self.stranger.http).stream(
            asked.method, asked.path, params=dict(asked.query), content=content, headers=headers,
            timeout=httpx.Timeout(30, read=_PATIENCE if asked.method == "GET" else 30),
        ) as answer:  # fmt: skip
            status, body = answer.status_code, repr(sorted(answer.headers.items())).encode()
            for part in answer.iter_bytes():
                body += part
                if len(body) > _LONGEST:
                    break
        self._look(route, asked, body, status)

    def _look(self, route: Route, asked: Asked, body: bytes, status: int = 0) -> None:
        name = str(route)
        self.walked.calls[name] = self.walked.calls.get(name, 0) + 1
        self.walked.answered[name] = self.walked.answered.get(name, 0) + (200 <= status < 300)
        told = f"{asked.method} {asked.path} {dict(asked.query) or ''} {json.dumps(asked.body) if asked.body else ''}"
        for what in self.victim.seen_in(body, asked.sent):
            self.walked.crossings.append(Crossing(name, told, f"shows {what}"))

    def _unnamed(self, route: Route) -> None:
        """Nobody who does not say who they are is answered."""
        if route.path in _OPEN or route.path == "/logout":
            return
        path = re.sub(r"\{\w+\}", self.victim.jobs[0], route.path)
        answer = self.nobody.request(route.method, path)
        if answer.status_code != 401:
            what = f"answers {answer.status_code} to who does not say who they are"
            self.walked.crossings.append(Crossing(str(route), f"{route.method} {path}", what))

    def _websocket(self, route: Route) -> None:
        """Listen, and say each name."""
        base = str(self.stranger.http.base_url).replace("http", "ws", 1).rstrip("/")
        for name in self.victim.names:
            path = re.sub(r"\{\w+\}", name, route.path)
            asked, heard = Asked("WEBSOCKET", path, body=name), b""
            with suppress(OSError, WebSocketException, TimeoutError):
                headers = {"Authorization": self.stranger.token}
                with connect(f"{base}{path}", additional_headers=headers, open_timeout=5, close_timeout=1) as socket:
                    socket.send(name)
                    while True:
                        message = socket.recv(timeout=_PATIENCE)
                        heard += message if isinstance(message, bytes) else message.encode()
            self._look(route, asked, heard)
            nobody = partial(connect, f"{base}{path}", open_timeout=5, close_timeout=1)
            with suppress(OSError, WebSocketException, TimeoutError), nobody():
                what = "lets in who does not say who they are"
                self.walked.crossings.append(Crossing(str(route), path, what))

    def _page(self, route: Route) -> None:
        """The other's page must not be there; one's own tells nothing of the other's, whatever its events are told."""
        theirs, own = self.pages
        upload = self.victim.handles.get("upload", "")
        below = (
            "",
            "/config",
            "/gradio_api/info",
            "/theme.css",
            "/gradio_api/startup-events",
            "/gradio_api/queue/data",
        )
        for path in (*below, "/gradio_api/heartbeat/x", f"/gradio_api/file={upload}"):
            query = {"session_hash": self.victim.owner.name} if path.endswith("data") else {}
            for root in (theirs, own):
                self._ask(route, Asked("GET", f"{root}{path}", query))
        for calls in self._events(own):
            self._listened(route, own, calls)
        for name in self.victim.names:
            for path in (f"/gradio_api/file={name}", f"/gradio_api/upload_progress?upload_id={name}"):
                self._ask(route, Asked("GET", f"{own}{path}"))

    def _listened(self, route: Route, own: str, calls: Sequence[Asked]) -> None:
        """Calls of one listener, which gradio's queue takes; what each is answered comes in one stream."""
        session, heard = secrets.token_hex(6), dict[str, tuple[Asked, bytearray]]()
        for asked in calls:
            answer = self.stranger.http.post(asked.path, json={**asked.body, "session_hash": session})
            if answer.status_code == 200:
                heard[answer.json()["event_id"]] = asked, bytearray()
            else:
                self._look(route, asked, answer.content, answer.status_code)
        left, query = set(heard), {"session_hash": session}
        with suppress(httpx.HTTPError), self.stranger.http.stream(
            "GET", f"{own}/gradio_api/queue/data", params=query, timeout=httpx.Timeout(30, read=3 * _PATIENCE)
        ) as stream:  # fmt: skip
            for line in stream.iter_lines() if left else ():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if (event := message.get("event_id")) in heard:
                    heard[event][1].extend(line.encode())
                if message.get("msg") == "process_completed":
                    left.discard(event)
                if not left:
                    break
        for event, (asked, body) in heard.items():
            self._look(route, asked, bytes(body), 0 if event in left else 200)

    def _events(self, own: str) -> Iterator[list[Asked]]:
        """Every listener's calls: with the other's names in its inputs and in what its event carries."""
        config = self.stranger.http.get(f"{own}/config")
        shown = config.json()
        acts = sorted({*_ACTS.findall(config.text), "details", "cancel", "interrupt", "again"})
        inputs = {one["id"]: one for one in shown["components"]}
        jobs = [handle for kind, handle in self.victim.handles.items() if kind.startswith("job")]
        names = [*jobs[:1], self.victim.handles.get("upload", ""), self.victim.handles["picture"]]
        for event in shown["dependencies"]:
            if not event.get("backend_fn"):
                continue
            acting = any(target[1] == "act" for target in event.get("targets", ()))
            calls = []
            for name in names:
                data = [_given(inputs[one], name) for one in event["inputs"]]
                for act in acts if acting else [""]:
                    carried: dict[str, Any] = {"act": act, "job": name, "name": name, "data": name, "values": {}}
                    body = {"fn_index": event["id"], "data": data, "event_data": carried}
                    calls.append(Asked("POST", f"{own}/gradio_api/queue/join", body=body))
            yield calls


def _given(component: Mapping[str, Any], name: str) -> Any:
    """What an event gets of a component: a name where people type or send a file, else what it shows."""
    match component["type"]:
        case "textbox" | "html" | "markdown" | "state":
            return name
        case "file" | "image":
            return {"path": name, "meta": {"_type": "gradio.FileData"}} if "/" in name else None
    return component.get("props", {}).get("value")
