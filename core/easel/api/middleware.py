"""What happens around every HTTP call: time and log line, bounded bodies, and JSON that is not labelled so."""

from __future__ import annotations

import logging
import re
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from easel.api.errors import error_response
from easel.errors import Forbidden

log = logging.getLogger("easel.api")
_FORM = "application/x-www-form-urlencoded"  # what `curl -d '{…}'` calls its JSON


class CallTimer:
    """`X-Process-Time` in seconds on every answer; one log line a call with `--api-log`. `//path` is `/path`."""

    def __init__(self, app: ASGIApp, *, log_calls: bool) -> None:
        self._app, self._log_calls = app, log_calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = "/" + scope["path"].lstrip("/")
        begin, status = time.perf_counter(), 500

        async def timed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Process-Time"] = f"{time.perf_counter() - begin:.4f}"
            await send(message)

        try:
            await self._app({**scope, "path": path, "raw_path": path.encode()}, receive, timed)
        finally:
            if self._log_calls:
                seconds = time.perf_counter() - begin
                client = (scope.get("client") or ("-",))[0]
                log.info("%s %s %s %.3f s from %s", scope["method"], path, status, seconds, client)


class BodyGuard:
    """Bodies up to a limit, counted while they stream in; JSON with a form's or no content type is taken as JSON.

    Such content types spare a browser the question whether another site may call us, so with them a foreign `Origin`
    is refused.
    """

    def __init__(self, app: ASGIApp, *, limit: int, origins: tuple[str, ...], origin_pattern: str | None) -> None:
        """`limit` in bytes; `origins` and `origin_pattern` are the sites that may call us."""
        self._app, self._limit = app, limit
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
            raise self._too_large()
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the request body is larger than {self._limit >> 20} MB (--max-body-mb)")

    def _expected(self, headers: Headers) -> bool:
        origin = headers.get("origin", "")
        if not origin or urlsplit(origin).netloc == headers.get("host"):
            return True
        if self._pattern and re.fullmatch(self._pattern, origin):
            return True
        return origin in self._origins or "*" in self._origins


def _as_json(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [*(pair for pair in headers if pair[0] != b"content-type"), (b"content-type", b"application/json")]
