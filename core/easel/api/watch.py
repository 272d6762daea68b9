"""`watch`: items pushed over a WebSocket, one binary message each.

Liveness is judged by what comes in, never by missing PONGs: a client that works on an item answers none. An
automatically committed item counts against the window until its PONG, which a client sends when it asks for the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from easel.api.links import LINK, Link
from easel.api.streams import REAR, interest_of, is_true, read_tags, split_path, whole
from easel.streams.delivery import Consumer
from easel.streams.frames import frame
from easel.streams.items import Item

if TYPE_CHECKING:
    from easel.streams.service import QueueService

_SILENT = 10.0  # seconds without a byte: five missed PINGs of the client; it leaks connections, so this is common
_HEARD = 5.0  # a parked connection that was heard this lately may have its place back
_LOOK_EVERY = 1.0
_MOST_WINDOW = 10_000


@dataclass(slots=True, eq=False)
class _Connection:
    socket: WebSocket
    link: Link
    consumer: Consumer
    stream: str
    index_only: bool
    unanswered: deque[int] = field(default_factory=deque)

    @property
    def name(self) -> tuple[str, str, str]:
        """What two connections of one client share: stream, group, consumer."""
        return self.stream, self.consumer.interest.group, self.consumer.interest.consumer


def routes(queue: QueueService) -> APIRouter:
    """The queue's WebSockets."""
    router = APIRouter()
    connections: list[_Connection] = []  # that are open, the latest last

    @router.websocket("/api/predict/{path:path}")
    async def watch(socket: WebSocket, path: str) -> None:
        """Push until the client is gone. What is wrong is refused in the handshake, with a plain HTTP status."""
        try:
            made = await _connection(queue, socket, path)
        except HTTPException as error:
            await socket.send_denial_response(PlainTextResponse(str(error.detail), error.status_code))
            return
        await socket.accept()
        await _serve(queue, made, connections)

    return router


async def _connection(queue: QueueService, socket: WebSocket, path: str) -> _Connection:
    """The connection a handshake asks for. Errors: HTTPException."""
    service, below = split_path(path, queue.service)
    if below not in ("", "sink"):
        raise HTTPException(404, f"there is no queue at this path; queues: {service}, {service}/sink")
    stream = queue.stream(below, rear=is_true(socket.headers.get(REAR, "false"), REAR))
    asked = socket.query_params
    window = whole(asked.get("_window_", "1"), "_window_", least=1)
    start = whole(asked.get("_index_", "0"), "_index_")
    if start < 0:  # only what is put from now on
        start = (await asyncio.to_thread(queue.store.facts, stream)).given + 1
    index_only, auto = (is_true(asked.get(name, "false"), name) for name in ("_index_only_", "_auto_commit_"))
    who = interest_of(socket.headers, start, read_tags(asked))
    link: Link = socket.scope["extensions"][LINK]
    consumer = Consumer(who, min(window, _MOST_WINDOW), auto, silence=lambda: link.silence)
    return _Connection(socket, link, consumer, stream, index_only)


async def _serve(queue: QueueService, made: _Connection, connections: list[_Connection]) -> None:
    """Hold the place of a consumer until the connection ends; a newcomer of the same name parks this one."""
    connections.append(made)
    made.link.answered = lambda payload: _answered(queue, made)
    await queue.delivery.add(made.stream, made.consumer)
    helpers = [asyncio.create_task(_send(queue, made)), asyncio.create_task(_cut_when_silent(made.link))]
    try:
        while (await made.socket.receive())["type"] != "websocket.disconnect":
            pass  # clients send nothing
    finally:
        for helper in helpers:
            helper.cancel()
        connections.remove(made)
        if not made.consumer.parked:
            await queue.delivery.remove(made.stream, made.consumer)
            await _give_back(queue, made, connections)


async def _give_back(queue: QueueService, gone: _Connection, connections: list[_Connection]) -> None:
    """The place is free: the latest parked connection of the same name that was heard lately has it again."""
    for one in reversed(connections):
        if one.name == gone.name and one.consumer.parked and one.link.silence < _HEARD:
            one.unanswered.clear()
            await queue.delivery.add(one.stream, one.consumer)
            return


async def _send(queue: QueueService, made: _Connection) -> None:
    """Send what the consumer is given; automatic commits happen at the send."""
    consumer = made.consumer
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the end is seen by who receives
        while True:
            item: Item = await consumer.outbox.get()
            await made.socket.send_bytes(frame(item, with_data=not made.index_only))
            if consumer.auto_commit:
                made.unanswered.append(item.index)
                made.link.ping(b"item %d" % item.index)
                await asyncio.shield(_commit(queue, made, item.index))


async def _commit(queue: QueueService, made: _Connection, index: int) -> None:
    """What was sent is committed, even when the client is gone by now: its place is given up after this."""
    async with made.consumer.using:
        await asyncio.to_thread(queue.store.commit, made.stream, made.consumer.interest.group, [index])


def _answered(queue: QueueService, made: _Connection) -> None:
    """A PONG: the client has asked for an item after all those sent before it, the last one's PING included."""
    if made.unanswered:
        made.consumer.settle([made.unanswered.popleft()])
        queue.delivery.ring(made.stream)


async def _cut_when_silent(link: Link) -> None:
    while link.silence < _SILENT:
        await asyncio.sleep(_LOOK_EVERY)
    link.abort()
