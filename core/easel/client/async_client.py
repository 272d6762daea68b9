"""The client for `asyncio`; every call is one of `Client`'s, see there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from easel.client import flows
from easel.client.address import Address
from easel.client.client import KEEPALIVE, MOST_BYTES, as_result, raise_if_refused
from easel.client.errors import Unreachable
from easel.client.flows import Call, Flow, Pause, Reply
from easel.client.values import Pictures, Progress, Result, Task

T = TypeVar("T")


class AsyncClient:
    """A connection to a service; use it as an asynchronous context manager, or `aclose` it."""

    def __init__(
        self, url: str, token: str = "", service: str = "", *, group: str = "eas", patience: float = 30.0
    ) -> None:
        """See `Client`."""
        self._at = Address.of(url, token, service, group, patience)
        self._http = httpx2.AsyncClient(base_url=self._at.base, headers=self._at.headers)

    async def submit(
        self,
        what: str,
        body: Mapping[str, Any] | bytes,
        *,
        task_id: str = "",
        idempotency_key: str = "",
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
    ) -> Task:
        """See `Client.submit`."""
        key, more = idempotency_key, tags or {}
        flow = flows.submit(self._at, what, body, task_id=task_id, idempotency_key=key, priority=priority, tags=more)
        return await self._run(flow)

    async def wait(self, task: Task, timeout: float | None = None, *, keep: bool = False) -> Result:
        """See `Client.wait`."""
        return await self._run(flows.wait(self._at, task, timeout, keep=keep))

    async def stream(
        self, *, window: int = 5, tags: Mapping[str, str] | None = None, start: int = 0, idle: float | None = None
    ) -> AsyncIterator[Result]:
        """See `Client.stream`. The event loop must not be blocked for longer than 10 s while results are handled."""
        url, lengths = self._at.watch(window, tags or {}, start), flows.pauses()
        began = last = time.monotonic()
        connected = False
        while True:
            try:
                async with connect(
                    url, additional_headers=self._at.headers, max_size=MOST_BYTES, **KEEPALIVE
                ) as socket:
                    connected, lengths = True, flows.pauses()
                    while True:
                        left = None if idle is None else max(0.0, last + idle - time.monotonic())
                        message = await asyncio.wait_for(socket.recv(), left)
                        yield (result := as_result(message))
                        await self.commit(result)
                        last = time.monotonic()
            except (OSError, WebSocketException) as error:
                raise_if_refused(error)
                if connected and idle is not None and time.monotonic() >= last + idle:
                    return
                if not connected and time.monotonic() - began > self._at.patience:
                    raise Unreachable(f"{self._at.base} does not answer: {error}") from error
            await asyncio.sleep(next(lengths))

    async def commit(self, result: Result) -> None:
        """See `Client.commit`."""
        await self._run(flows.commit(self._at, result))

    async def results(
        self, *, start: int = 0, count: int = 100, seconds: float = 0.0, tags: Mapping[str, str] | None = None
    ) -> list[Result]:
        """See `Client.results`."""
        return await self._run(flows.results(self._at, start, count, seconds, tags or {}))

    async def take(self, result: Result) -> None:
        """See `Client.take`."""
        await self._run(flows.take(self._at, result))

    async def progress(self, task: Task) -> Progress:
        """See `Client.progress`."""
        return await self._run(flows.progress(self._at, task))

    async def cancel(self, task: Task) -> bool:
        """See `Client.cancel`."""
        return await self._run(flows.cancel(self._at, task))

    async def txt2img(self, *, timeout: float | None = None, **fields: Any) -> Pictures:
        """See `Client.txt2img`."""
        return await self._run(flows.pictures(self._at, "txt2img", fields, timeout))

    async def img2img(self, *, timeout: float | None = None, **fields: Any) -> Pictures:
        """See `Client.img2img`."""
        return await self._run(flows.pictures(self._at, "img2img", fields, timeout))

    async def picture(self, path: str) -> bytes:
        """See `Client.picture`."""
        return await self._run(flows.picture(self._at, path))

    async def jobs(self) -> list[Mapping[str, Any]]:
        """See `Client.jobs`."""
        return await self._run(flows.jobs(self._at))

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    reply = await self._do(step)
                except httpx2.TransportError as error:
                    step = flow.throw(Unreachable(f"{self._at.base} does not answer: {error}"))
                else:
                    step = flow.send(reply)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _do(self, step: Call | Pause) -> Reply | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        answer = await self._http.request(
            step.method, step.path, headers=step.headers, content=step.content or None, timeout=step.seconds
        )
        return Reply(answer.status_code, answer.headers, answer.content)
