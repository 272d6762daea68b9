"""Answers of the page that stay the same: made once, packed once, and kept.

gradio makes its page anew for everybody who opens it (69 ms of a slow processor), and packs its files again each time.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive, Scope

if TYPE_CHECKING:
    from gradio.routes import App

_MOST = 32  # answers of one page: a caller can come by many addresses


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer's body, and the same packed where that makes it smaller."""

    body: bytes
    packed: bytes
    kind: str
    headers: Mapping[str, str]

    @classmethod
    async def of(cls, body: bytes, kind: str, **headers: str) -> Kept:
        """Pack it, in a thread."""
        packed = await asyncio.to_thread(gzip.compress, body, 6)
        return cls(body, packed if len(packed) < 0.9 * len(body) else b"", kind, headers)

    def response(self, scope: Scope) -> Response:
        """For whoever asks with `scope`."""
        if not self.packed or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            return Response(self.body, media_type=self.kind, headers=self.headers)
        headers = {**self.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return Response(self.packed, media_type=self.kind, headers=headers)


class Answers:
    """What a page of gradio answers to a GET without arguments, by path and the address that people come by."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._kept: dict[tuple[str, str], Kept] = {}

    async def get(self, scope: Scope) -> Kept:
        """Errors: HTTPException, for any status but 200."""
        from gradio.route_utils import get_root_url

        key = scope["path"], get_root_url(Request(scope), "/", scope["root_path"])  # as gradio writes it into the page
        if key not in self._kept:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[key] = await self._ask(scope)
        return self._kept[key]

    async def _ask(self, scope: Scope) -> Kept:
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        status, answer, body = 0, MutableHeaders(), bytearray()

        async def keep(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer.raw.extend(message["headers"])
            body.extend(message.get("body", b""))

        await self._app({**scope, "headers": headers, "query_string": b""}, replay(b""), keep)
        if status != 200:
            raise HTTPException(status)
        return await Kept.of(bytes(body), answer["content-type"])


def replay(body: bytes) -> Receive:
    """A call whose body has been read."""
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()  # the answer is a short one: nobody waits for the caller to hang up
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
