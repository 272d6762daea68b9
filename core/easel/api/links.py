"""WebSocket connections with what ASGI hides: when the other side was last heard, and PINGs with an answer."""

from __future__ import annotations

from collections.abc import Callable

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

LINK = "easel.link"  # in a scope's `extensions`


class Link(WebSocketsSansIOProtocol):
    """uvicorn's protocol; a WebSocket's scope carries it as `extensions[LINK]`."""

    heard: float = 0.0  # loop time of the last byte that came in, control frames included
    answered: Callable[[bytes], None] | None = None  # told the payload of every PONG

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.heard = self.loop.time()
        super().data_received(data)

    def handle_connect(self, event: Request) -> None:
        """A handshake; its application starts after this returns."""
        super().handle_connect(event)
        if not self.handshake_complete:
            self.scope["extensions"] = {**(self.scope["extensions"] or {}), LINK: self}  # type: ignore[dict-item]

    def handle_pong(self, event: Frame) -> None:
        """An answer to a PING of ours."""
        if self.answered is not None:
            self.answered(bytes(event.data))
        super().handle_pong(event)

    def ping(self, payload: bytes) -> None:
        """Send a PING of up to 125 bytes."""
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.send_ping(payload)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def abort(self) -> None:
        """Cut the connection without a word."""
        self.transport.abort()

    @property
    def silence(self) -> float:
        """Seconds since anything was heard."""
        return self.loop.time() - self.heard
