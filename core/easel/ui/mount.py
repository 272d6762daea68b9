"""The page among the routes of the service: `/`, its files, and what its events call.

Every build of the page lives below a prefix of its own (`/page/<id>/`). A reload makes a new build, which whoever opens
`/` from then on gets; pages that are open keep theirs, and a build goes when the last of them has been closed for a
while. Who may call was decided before (`Gatekeeper`); here stands which of gradio's routes exist at all.

On a service with users (`apart`) everybody has builds of their own, made when they open the page: in their language,
with their models and extensions. Nobody else reaches a build, and so neither its sessions nor its files.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import mimetypes
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Message, Receive, Scope, Send

from easel.errors import Forbidden, NotFound, TooLarge
from easel.ui.kept import Answers, Kept, replay
from easel.values.user import User, acting_as, acting_user

if TYPE_CHECKING:
    from gradio.routes import App

log = logging.getLogger(__name__)
_FILES = ("/assets/", "/static/")  # of gradio's own; the same in every build
_NAMES = ("/theme.css", "/manifest.json", "/favicon.ico")
_SAME = ("/", "/theme.css")  # gradio's answer is, for all who come by one address
_READ = ("/config", "/gradio_api/info", "/gradio_api/startup-events", "/gradio_api/queue/data", *_NAMES)
_READ_BELOW = ("/gradio_api/heartbeat/", "/gradio_api/file=", *_FILES)
_FILE = "/gradio_api/file="
_ASK = tuple(
    f"/gradio_api/{name}" for name in ("queue/join", "run/predict", "upload", "cancel", "reset", "component_server")
)
_OPEN = ("/gradio_api/heartbeat/", "/gradio_api/queue/data", "/gradio_api/upload_progress")  # event streams
_LARGEST_CALL = 8 << 20  # bytes of an event's arguments; files are uploaded before and only named in it
_IDLE = 90.0  # seconds after which a build that no open page uses is let go
_FOR_EVER = "public, max-age=31536000, immutable"  # the names of the assets hold their hash


@dataclass(eq=False)
class Build:
    """One build of the page and who uses it. `ended` is set to let it go."""

    id: str
    app: App
    owner: str  # "": everybody
    made_with: object  # the extensions that it shows
    pages: int = 0  # that are open: each holds one event stream open
    used: float = field(default_factory=time.monotonic)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    answers: Answers = field(init=False)

    def __post_init__(self) -> None:
        self.answers = Answers(self.app)


class PageMount(BaseRoute):
    """The page as one route of the service. `make` builds a page, in a thread, for the acting user.

    `apart`: each user has pages of their own; `shows` is what makes one out of date, `files` where theirs are kept,
    `room` says no to so many more bytes.
    """

    def __init__(
        self,
        make: Callable[[], App],
        *,
        apart: bool = False,
        shows: Callable[[], object],
        files: Path,
        room: Callable[[int], None],
    ) -> None:
        self._make, self._apart, self._shows, self._files, self._room = make, apart, shows, files, room
        self._opening = asyncio.Lock()
        self._builds: dict[str, Build] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.Task[None]] = set()
        self._first: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reloading = asyncio.Lock()
        self._assets: dict[str, Kept] = {}

    def router(self) -> APIRouter:
        """The page as a part of a service, which starts and ends it."""
        return APIRouter(routes=[self], lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        """Begin the first build, beside whatever else the service does; who asks for the page meanwhile waits."""
        self._loop = asyncio.get_running_loop()
        self._first = None if self._apart else asyncio.create_task(self._begin())
        try:
            yield
        finally:
            await self._close()

    async def _begin(self) -> None:
        try:
            await self.reload()
        except Exception:
            log.exception("the page could not be built")

    def reload_from_thread(self) -> None:
        """`reload` for other threads, which wait for it. Errors: the same."""
        if self._loop is not None:
            fresh = contextvars.Context()  # gradio marks that of a listener, in which components are no part of a page
            fresh.run(asyncio.run_coroutine_threadsafe, self.reload(acting_user()), self._loop).result()

    async def reload(self, user: User | None = None) -> None:
        """Make a new build, for whoever (of users: the acting one) loads the page from now on.

        Errors: what building raises; all stays then.
        """
        async with self._reloading:
            with acting_as(user or acting_user()):
                await self._build()
        self._drop_unused()

    async def _build(self) -> None:
        begin, name = time.perf_counter(), secrets.token_hex(6)
        made_with = self._shows()
        app = await asyncio.to_thread(self._make)
        owner = acting_user().name if self._apart else ""
        if owner:
            _keep_files(app, self._files / owner)
        build, ready = Build(name, app, owner, made_with), asyncio.Event()
        life = asyncio.create_task(_live(build, ready))
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)
        await ready.wait()
        self._builds[name] = build
        log.info("the page is ready (%.1f s)", time.perf_counter() - begin)

    def end_streams(self) -> None:
        """The service stops: end the event streams, which pages that are open would hold for ever."""
        for stream in tuple(self._streams):
            stream.cancel()

    async def _close(self) -> None:
        if self._first is not None:
            self._first.cancel()
        self.end_streams()
        for build in self._builds.values():
            build.ended.set()
        if self._lives:
            await asyncio.wait(self._lives, timeout=5)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Is it the page's?"""
        if scope["type"] != "http":
            return Match.NONE, {}
        path, method = scope["path"], scope["method"]
        if path.startswith("/page/"):
            return Match.FULL, {}
        ours = path == "/" or path in _NAMES or path.startswith(_FILES)
        return (Match.FULL if ours and method in ("GET", "HEAD") else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call of the page. Errors: NotFound, Forbidden, TooLarge, DiskFull."""
        path = scope["path"]
        if path.startswith("/page/"):
            name, _, rest = path.removeprefix("/page/").partition("/")
            build, rest = self._builds.get(name), f"/{rest}"
            if build is None or (self._apart and build.owner != scope["state"]["user"].name):
                raise NotFound("this page is out of date: load it again")
            if not _allowed(scope["method"], rest):
                raise NotFound("the page has no such route")
        else:
            build, rest = await self._current(), path
        build.used = time.monotonic()
        if rest.startswith("/assets/") and (asset := await self._asset(rest.removeprefix("/assets/"))) is not None:
            await asset.response(scope)(scope, receive, send)
            return
        if scope["method"] == "POST" and rest == "/gradio_api/upload":
            await asyncio.to_thread(self._room, int(Headers(scope=scope).get("content-length", 0)))
        elif scope["method"] == "POST":
            receive = replay(await _checked(receive, self._own(build)))
        if rest.startswith(_FILE):
            _refuse_foreign(rest.removeprefix(_FILE), self._own(build))
        if rest.startswith(_FILES):
            send = _kept(send)
        root = f"{scope.get('root_path', '')}/page/{build.id}"
        inner = {**_plain(scope), "path": root + rest, "raw_path": (root + rest).encode(), "root_path": root}
        if rest.startswith(_OPEN):
            await self._stream(build, inner, receive, send)
        elif rest in _SAME and scope["method"] == "GET":
            await (await build.answers.get(inner)).response(scope)(scope, receive, send)
        else:
            await build.app(inner, receive, send)
        if rest == "/":
            self._drop_unused()

    async def _asset(self, name: str) -> Kept | None:
        """A file of the browser's part of gradio, kept once it was read: a page is sixty of them."""
        if name not in self._assets:
            from gradio.route_utils import BUILD_PATH_LIB

            known = {file.name: file for file in Path(BUILD_PATH_LIB).iterdir() if file.is_file()}
            if name not in known:
                return None
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            self._assets[name] = await Kept.of(known[name].read_bytes(), kind, **{"Cache-Control": _FOR_EVER})
        return self._assets[name]

    async def _stream(self, build: Build, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an event stream through, and end it when the service stops."""
        stream = asyncio.ensure_future(build.app(scope, receive, send))
        self._streams.add(stream)
        beating = "/heartbeat/" in scope["path"]
        build.pages += beating
        try:
            await asyncio.wait({stream})
        finally:
            stream.cancel()
            build.pages -= beating
            build.used = time.monotonic()
            self._streams.discard(stream)
        if not stream.cancelled():
            stream.result()

    def _own(self, build: Build) -> Path | None:
        """The one folder whose files the pages of a build may name; None: gradio decides."""
        return self._files / build.owner if self._apart else None

    async def _current(self) -> Build:
        """The newest build (of users: the acting one's, which is made when it is needed); waits for the first."""
        if self._apart:
            async with self._opening:
                if (found := self._newest(acting_user().name)) is None:
                    await self.reload()
                    found = self._newest(acting_user().name)
            if found is None:
                raise HTTPException(503, "the page could not be built; see the server's log")
            return found
        if not self._builds and self._first is not None:
            await asyncio.wait({self._first})
        if not self._builds:
            raise HTTPException(503, "the page could not be built; see the server's log")
        return next(reversed(self._builds.values()))

    def _newest(self, owner: str) -> Build | None:
        """A user's newest build, if it shows their extensions as they are now."""
        mine = [build for build in self._builds.values() if build.owner == owner]
        return mine[-1] if mine and mine[-1].made_with is self._shows() else None

    def _drop_unused(self) -> None:
        oldest, builds = time.monotonic() - _IDLE, list(self._builds.values())
        for build in builds if self._apart else builds[:-1]:
            if build.pages == 0 and build.used < oldest:
                build.ended.set()
                del self._builds[build.id]


async def _live(build: Build, ready: asyncio.Event) -> None:
    """A build's life, in one task from its start to its end."""
    blocks = build.app.get_blocks()
    async with build.app.router.lifespan_context(build.app):
        blocks.run_startup_events()  # type: ignore[no-untyped-call]
        await blocks.run_extra_startup_events()  # type: ignore[no-untyped-call]
        ready.set()
        await build.ended.wait()
        build.app.stop_event.set()
        blocks.is_running = False
        await asyncio.to_thread(blocks._queue.close)


def _plain(scope: Scope) -> Scope:
    """A call without what the service's own router wrote on it."""
    return {name: value for name, value in scope.items() if name not in ("app", "router", "route", "fastapi")}


def _allowed(method: str, path: str) -> bool:
    if method in ("GET", "HEAD"):
        return path in ("/", *_READ) or path.startswith((*_READ_BELOW, *_OPEN))
    return method == "POST" and path.rstrip("/") in _ASK


def _keep_files(app: App, folder: Path) -> None:
    """Let a build keep uploads and pictures in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    app.uploaded_file_dir = str(folder)
    for block in (app.get_blocks(), *app.get_blocks().blocks.values()):
        block.GRADIO_CACHE = str(folder)


def _refuse_foreign(path: str, own: Path | None) -> None:
    """Errors: Forbidden, for a file that is not in the folder."""
    if own is not None and not Path(os.path.normpath(path)).is_relative_to(own):
        raise Forbidden("this is no file of this page")


async def _checked(receive: Receive, own: Path | None) -> bytes:
    """The body of an event. What it names as a file must be one of the page's (in `own`): gradio would fetch a URL.

    Errors: TooLarge, Forbidden.
    """
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > _LARGEST_CALL:
            raise TooLarge(f"an event of the page is larger than {_LARGEST_CALL >> 20} MB")
    body = b"".join(parts)
    try:
        said = json.loads(body) if body else None
    except ValueError:
        said = None  # gradio answers that it is no JSON
    if any("://" in path[:16] or path.startswith("//") for path in _named_files(said)):
        raise Forbidden("a URL is no file of this page")
    for path in _named_files(said):
        _refuse_foreign(path, own)
    return body


def _named_files(said: Any) -> Iterator[str]:
    waiting = [said]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(path := one.get("path"), str):
                yield path
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _kept(send: Send) -> Send:
    async def kept(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            MutableHeaders(scope=message)["Cache-Control"] = _FOR_EVER
        await send(message)

    return kept
