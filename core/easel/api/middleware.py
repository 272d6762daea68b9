"""What happens around every HTTP call: time, log line and path, who may be named, bounded bodies, unlabelled JSON."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from math import ceil
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from easel.api.errors import error_response
from easel.api.replay import task_of
from easel.errors import Forbidden, JobRefused, TooLarge

log = logging.getLogger("easel.api")
_FORM = "application/x-www-form-urlencoded"  # what `curl -d '{…}'` calls its JSON


class CallFrame:
    """`X-Process-Time` in seconds on every answer, one log line a call with `--api-log`, and paths as routes know them.

    `//path` is `/path`; below a prefix (`--subpath`) `/prefix/path` is too, whether or not a proxy took the prefix off.
    `alias` is one more way to the root: EAS' `/api/predict/NAME`, where that is no queue.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        log_calls: bool,
        prefix: str,
        note: Callable[[str, str, int, float], None],
        alias: str = "",
    ) -> None:
        """`note` is told method, template of the route ("": none of ours), status and seconds of calls from outside."""
        self._app, self._log_calls, self._prefix, self._alias, self._note = app, log_calls, prefix, alias, note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = "/" + scope["path"].lstrip("/")
        if self._prefix and path.startswith(self._prefix + "/"):
            path = path.removeprefix(self._prefix)
        if self._alias and (path == self._alias or path.startswith(self._alias + "/")):
            path = path.removeprefix(self._alias) or "/"
        begin, status = time.perf_counter(), 500

        async def timed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Process-Time"] = f"{time.perf_counter() - begin:.4f}"
            await send(message)

        framed = {**scope, "path": path, "raw_path": path.encode(), "root_path": self._prefix}
        try:
            await self._app(framed, receive, timed)
        finally:
            seconds = time.perf_counter() - begin
            if task_of(scope) is None:
                self._note(scope["method"], getattr(framed.get("route"), "path", ""), status, seconds)
            if self._log_calls:
                client = (scope.get("client") or ("-",))[0]
                log.info("%s %s %s %.3f s from %s", scope["method"], quote(path), status, seconds, client)


@dataclass(frozen=True, slots=True)
class Origins:
    """The sites whose pages may call us (`--cors-allow-origins`, `--cors-allow-origins-regex`)."""

    listed: tuple[str, ...] = ()
    pattern: str | None = None

    def allow(self, origin: str) -> bool:
        """May pages of this origin (`https://name:port`) call?"""
        return origin in self.listed or "*" in self.listed or bool(self.pattern and re.fullmatch(self.pattern, origin))


class HostGuard:
    """For a server that anybody on this machine may use: no name from the Internet may lead a browser to it.

    A site whose name is made to point at 127.0.0.1 (DNS rebinding) is the same site as ours for the visitor's browser.
    What no stranger can own is allowed: addresses, names without a dot, reserved endings, and the origins we are told.
    """

    _RESERVED = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".test")

    def __init__(self, app: ASGIApp, *, origins: Origins) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, or refuse it with 403."""
        if scope["type"] in ("http", "websocket") and not self._ours(Headers(scope=scope).get("host", "")):
            reason = "this server has no password and is not known by this name (--cors-allow-origins, --token)"
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(PlainTextResponse(reason, 403))
            else:
                await error_response(Forbidden(reason))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _ours(self, host: str) -> bool:
        if any(self._origins.allow(f"{scheme}://{host}") for scheme in ("http", "https")):
            return True
        name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
        name = name.rstrip(".").lower()
        if "." not in name or name.endswith(self._RESERVED):  # an IPv6 address has no dot, or is one that ends in IPv4
            return True
        try:
            ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


class BodyGuard:
    """Bodies up to a limit, counted while they stream in; JSON with a form's or no content type is taken as JSON.

    Such content types spare a browser the question whether another site may call us, so with them a foreign `Origin`
    is refused.
    """

    def __init__(self, app: ASGIApp, *, limit: int, origins: Origins) -> None:
        """`limit` in bytes."""
        self._app, self._limit = app, limit
        self._refusal = f"the request body is larger than {limit >> 20} MB (--max-body-mb)"
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if "json" not in kind and not self._expected(headers):
            await error_response(Forbidden("this site may not call the API (--cors-allow-origins)"))(
                scope, receive, send
            )
            return
        if kind in ("", _FORM) and scope["path"] != "/login":  # which is a form
            scope["headers"] = _as_json(scope["headers"])  # in place: what routing adds is to be seen outside
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limit:
            await error_response(TooLarge(self._refusal))(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise HTTPException(413, self._refusal)  # what body readers let through
            return message

        await self._app(scope, counted, send)

    def _expected(self, headers: Headers) -> bool:
        origin = headers.get("origin", "")
        return not origin or urlsplit(origin).netloc == headers.get("host") or self._origins.allow(origin)


class RateLimit:
    """So many changing calls a minute for each caller, in bursts of up to as many; more are answered 429.

    A caller is a user with a name, else the credentials of the call, else an address. `Gatekeeper` stands before.
    """

    _MOST_CALLERS = 10_000  # that are remembered

    def __init__(self, app: ASGIApp, *, per_minute: int) -> None:
        self._app, self._rate = app, per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # calls left, and when that was so

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS") and not task_of(scope):
            wait = self._wait(self._caller(scope))
            if wait > 0:
                error = JobRefused(f"more than {self._rate} calls a minute (--rate-limit); try again in {wait:.0f} s")
                await error_response(error, {"Retry-After": str(ceil(wait))})(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> str:
        user, given = scope["state"]["user"].name, Headers(scope=scope).get("authorization", "")
        if user or given:
            return sha256(f"{user}\0{given}".encode()).hexdigest()
        return str((scope.get("client") or ("",))[0])

    def _wait(self, caller: str) -> float:
        """Seconds until this caller may call; 0 when now, which is counted."""
        now = time.monotonic()
        left, since = self._buckets.pop(caller, (float(self._rate), now))
        left = min(float(self._rate), left + (now - since) * self._rate / 60)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now)
        while len(self._buckets) > self._MOST_CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) * 60 / self._rate


def _as_json(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [*(pair for pair in headers if pair[0] != b"content-type"), (b"content-type", b"application/json")]
