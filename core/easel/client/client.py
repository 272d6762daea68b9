"""The client for ordinary programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import httpx2
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from easel.client import flows
from easel.client.address import Address
from easel.client.errors import Refused, Unreachable
from easel.client.flows import Call, Flow, Pause, Reply
from easel.client.frames import read_frame
from easel.client.values import Pictures, Progress, Result, Task

T = TypeVar("T")
# Clients of a queue tell every 2 s that they are there; a busy service may take its time to answer.
KEEPALIVE: dict[str, Any] = {"ping_interval": 2, "ping_timeout": None, "close_timeout": 1, "compression": None}
MOST_BYTES = 64 << 20  # of one result
NOT_READY = 503


class Client:
    """A connection to a service; use it as a context manager, or `close` it. One thread at a time."""

    def __init__(
        self, url: str, token: str = "", service: str = "", *, group: str = "eas", patience: float = 30.0
    ) -> None:
        """`url`: the server, or the service (`http://host/api/predict/NAME`), which names it, too;
        a service that was given no name is called `easel`.

        `group`: results are shared among the clients of a group, and every group gets its own copy. A lost connection
        is tried again for `patience` seconds. Errors: WrongAddress.
        """
        self._at = Address.of(url, token, service, group, patience)
        self._http = httpx2.Client(base_url=self._at.base, headers=self._at.headers)

    # -- tasks

    def submit(
        self,
        what: str,
        body: Mapping[str, Any] | bytes,
        *,
        task_id: str = "",
        idempotency_key: str = "",
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
    ) -> Task:
        """Store a task for "txt2img", "img2img" or any path of the API ("sdapi/v1/png-info").

        `task_id` and `tags` come back with the result. The same `task_id` twice is two tasks; the same
        `idempotency_key` twice is one. Without a key each call has its own, so that a lost connection does no harm.
        Errors: Refused, Unreachable.
        """
        key, more = idempotency_key, tags or {}
        flow = flows.submit(self._at, what, body, task_id=task_id, idempotency_key=key, priority=priority, tags=more)
        return self._run(flow)

    def wait(self, task: Task, timeout: float | None = None, *, keep: bool = False) -> Result:
        """The result of a task, which is taken out of the sink unless it is to `keep`; `timeout` in seconds.

        Errors: NotYet, TaskFailed, TaskGone, Refused, Unreachable.
        """
        return self._run(flows.wait(self._at, task, timeout, keep=keep))

    def stream(
        self, *, window: int = 5, tags: Mapping[str, str] | None = None, start: int = 0, idle: float | None = None
    ) -> Iterator[Result]:
        """Results as they come, failed ones too; each is committed when the next one is asked for.

        A result whose handling ends in an exception, or with the program, is delivered again. At most `window` are on
        their way. Only results with all of `tags`, and from number `start` on (-1: new ones). Goes on after lost
        connections; ends when nothing came for `idle` seconds. Errors: Refused; Unreachable, at the first connection.
        """
        url, lengths = self._at.watch(window, tags or {}, start), flows.pauses()
        began = last = time.monotonic()
        connected = False
        while True:
            try:
                with connect(url, additional_headers=self._at.headers, max_size=MOST_BYTES, **KEEPALIVE) as socket:
                    connected, lengths = True, flows.pauses()
                    while True:
                        message = socket.recv(None if idle is None else max(0.0, last + idle - time.monotonic()))
                        yield (result := as_result(message))
                        self.commit(result)
                        last = time.monotonic()
            except (OSError, WebSocketException) as error:
                raise_if_refused(error)
                if connected and idle is not None and time.monotonic() >= last + idle:
                    return
                if not connected and time.monotonic() - began > self._at.patience:
                    raise Unreachable(f"{self._at.base} does not answer: {error}") from error
            time.sleep(next(lengths))

    def commit(self, result: Result) -> None:
        """This client's group is done with a result; `stream` does so by itself."""
        self._run(flows.commit(self._at, result))

    def results(
        self, *, start: int = 0, count: int = 100, seconds: float = 0.0, tags: Mapping[str, str] | None = None
    ) -> list[Result]:
        """What is in the sink from number `start` on, `count` of them at most; nothing is removed.

        Waits up to `seconds` for the first one. Errors: as `submit`.
        """
        return self._run(flows.results(self._at, start, count, seconds, tags or {}))

    def take(self, result: Result) -> None:
        """Remove a result from the sink, for everybody."""
        self._run(flows.take(self._at, result))

    def progress(self, task: Task) -> Progress:
        """Where a task is: in line, running, finished."""
        return self._run(flows.progress(self._at, task))

    def cancel(self, task: Task) -> bool:
        """Withdraw a task that waits (it has no result), stop one that runs (its result says so).

        False: it had ended before.
        """
        return self._run(flows.cancel(self._at, task))

    # -- at once

    def txt2img(self, *, timeout: float | None = None, **fields: Any) -> Pictures:
        """Pictures from a text, by the fields of `/sdapi/v1/txt2img`; `timeout` in seconds. Errors: as `submit`."""
        return self._run(flows.pictures(self._at, "txt2img", fields, timeout))

    def img2img(self, *, timeout: float | None = None, **fields: Any) -> Pictures:
        """Pictures from a text and pictures. Errors: as `submit`."""
        return self._run(flows.pictures(self._at, "img2img", fields, timeout))

    def picture(self, path: str) -> bytes:
        """A saved picture, by one of a result's `paths`. Errors: Refused, Unreachable."""
        return self._run(flows.picture(self._at, path))

    def jobs(self) -> list[Mapping[str, Any]]:
        """What the service runs and ran for this caller, the newest first. Errors: Refused, Unreachable."""
        return self._run(flows.jobs(self._at))

    # -- inside

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    reply = self._do(step)
                except httpx2.TransportError as error:
                    step = flow.throw(Unreachable(f"{self._at.base} does not answer: {error}"))
                else:
                    step = flow.send(reply)
        except StopIteration as end:
            value: T = end.value
            return value

    def _do(self, step: Call | Pause) -> Reply | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        answer = self._http.request(
            step.method, step.path, headers=step.headers, content=step.content or None, timeout=step.seconds
        )
        return Reply(answer.status_code, answer.headers, answer.content)


def as_result(message: str | bytes) -> Result:
    """A pushed item. Errors: Refused, for what no queue pushes."""
    try:
        index, tags, data = read_frame(message if isinstance(message, bytes) else message.encode())
    except ValueError as error:
        raise Refused(200, str(error)) from None
    return Result(index, data, tags)


def raise_if_refused(error: Exception) -> None:
    """A handshake that was answered with a status; 503 is a service that is about to be there. Errors: Refused."""
    if isinstance(error, InvalidStatus) and error.response.status_code != NOT_READY:
        body = bytes(error.response.body or b"")
        raise Refused(error.response.status_code, body.decode("utf-8", "replace").strip()) from None
