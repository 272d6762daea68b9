"""What happens around every HTTP call: time, log line and path, bounded bodies, JSON that is not labelled so."""

from __future__ import annotations

import logging
import re
import time
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from easel.api.errors import error_response
from easel.errors import Forbidden, TooLarge

log = logging.getLogger("easel.api")
_FORM = "application/x-www-form-urlencoded"  # what `curl -d '{…}'` calls its JSON


class CallFrame:
    """`X-Process-Time` in seconds on every answer, one log line a call with `--api-log`, and paths as routes know them.

    `//path` is `/path`; below a prefix (`--subpath`) `/prefix/path` is too, whether or not a proxy took the prefix off.
    """

    def __init__(self, app: ASGIApp, *, log_calls: bool, prefix: str) -> None:
        self._app, self._log_calls, self._prefix = app, log_calls, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = "/" + scope["path"].lstrip("/")
        if self._prefix and path.startswith(self._prefix + "/"):
            path = path.removeprefix(self._prefix)
        begin, status = time.perf_counter(), 500

        async def timed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Process-Time"] = f"{time.perf_counter() - begin:.4f}"
            await send(message)

        try:
            framed = {**scope, "path": path, "raw_path": path.encode(), "root_path": self._prefix}
            await self._app(framed, receive, timed)
        finally:
            if self._log_calls:
                seconds = time.perf_counter() - begin
                client = (scope.get("client") or ("-",))[0]
                log.info("%s %s %s %.3f s from %s", scope["method"], quote(path), status, seconds, client)


class BodyGuard:
    """Bodies up to a limit, counted while they stream in; JSON with a form's or no content type is taken as JSON.

    Such content types spare a browser the question whether another site may call us, so with them a foreign `Origin`
    is refused.
    """

    def __init__(self, app: ASGIApp, *, limit: int, origins: tuple[str, ...], origin_pattern: str | None) -> None:
        """`limit` in bytes; `origins` and `origin_pattern` are the sites that may call us."""
        self._app, self._limit = app, limit
        self._refusal = f"the request body is larger than {limit >> 20} MB (--max-body-mb)"
        self._origins, self._pattern = origins, origin_pattern

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
        if kind in ("", _FORM):
            scope = {**scope, "headers": _as_json(scope["headers"])}
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
        if not origin or urlsplit(origin).netloc == headers.get("host"):
            return True
        if self._pattern and re.fullmatch(self._pattern, origin):
            return True
        return origin in self._origins or "*" in self._origins


def _as_json(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [*(pair for pair in headers if pair[0] != b"content-type"), (b"content-type", b"application/json")]
