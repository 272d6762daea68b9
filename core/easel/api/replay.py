"""Performing a task of the queue: its call goes through everybody's application, and the answer is caught."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Scope

from easel.api.pai import Additions, additions_in, failed
from easel.errors import BadRequest, EaselError, NotFound
from easel.streams.dispatcher import Answer, Task
from easel.values.ledger import Line
from easel.values.user import User

if TYPE_CHECKING:
    from easel.app import Easel

TASK = "easel.task"  # in a scope: the task whose call this is; no caller from outside can set it
INFO_LEFT_OUT = "info is left out: with it the result would be larger than the queue takes"


def task_of(scope: Mapping[str, Any]) -> Task | None:
    """The task that a call belongs to; None for everybody else's calls."""
    found: Task | None = scope.get(TASK)
    return found


def user_of_task(task: Task) -> User:
    """Who submitted it: the call acts with their rights."""
    return User(task.item.call.user, admin=task.item.call.admin)


class Replay:
    """`perform` and `failure` of a dispatcher, for the API of `app`."""

    def __init__(self, app: Easel, api: ASGIApp) -> None:
        self._app, self._api = app, api

    async def perform(self, task: Task) -> Answer:
        """POST the item's body to its path. Cancelled, the call is told that its client has hung up."""
        status, body = await self._call(task)
        if status >= 300:
            return self._refused(task, status, body)
        return Answer(status=status, body=_fitted(body, task.limit), line=self._line(task))

    def failure(self, task: Task, error: EaselError) -> Answer:
        """The answer about a task that went wrong before or after its call."""
        additions = _additions(task)
        body = json.dumps(failed(additions, error)).encode()
        return Answer(
            status=error.status, code=error.code, reason=error.message, body=body, line=self._line(task, additions)
        )

    def _line(self, task: Task, additions: Additions | None = None) -> Line:
        """What the task's job came to here; without a job, whose it would have been."""
        known = self._app.jobs.line(task.id)
        if known is not None:
            return known
        project = str((additions or _additions(task)).get("uid"))
        return Line(job=task.id, service=self._app.settings.service_name, project=project)

    def _refused(self, task: Task, status: int, body: bytes) -> Answer:
        """An error's answer, in PAI's envelope whatever its shape was."""
        told = _json(body)
        parameters = told.get("parameters")
        if isinstance(parameters, dict) and isinstance(parameters.get("status"), int):
            code, reason = parameters["status"], str(parameters.get("error_msg", ""))
        else:
            known = NotFound if status == NotFound.status else BadRequest if status < 500 else EaselError
            detail = told.get("detail") or told.get("errors") or f"HTTP status {status}"
            code, reason = known.code, detail if isinstance(detail, str) else json.dumps(detail)
        error = EaselError(reason)
        error.status, error.code = status, code
        return self.failure(task, error)

    async def _call(self, task: Task) -> tuple[int, bytes]:
        call, status, parts = task.item.call, 500, []
        hung_up = asyncio.Event()
        messages: list[Message] = [{"type": "http.request", "body": task.item.data, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        path = f"/{call.path}"
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"content-type", (call.content_type or "application/json").encode("latin-1", "replace"))],
            "client": None,
            "server": None,
            "state": {},
            TASK: task,
        }
        running = asyncio.ensure_future(self._api(scope, receive, send))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            hung_up.set()
            await asyncio.wait([running], timeout=10)
            raise
        return status, b"".join(parts)


def _fitted(body: bytes, limit: int) -> bytes:
    """The answer, without `info` where it would not fit with it: pictures and their paths matter most."""
    if len(body) <= limit:
        return body
    answer = _json(body)
    parameters = answer.get("parameters")
    if not answer.get("info") or not isinstance(parameters, dict):
        return body
    warnings = [*parameters.get("warnings", ()), INFO_LEFT_OUT]
    return json.dumps(answer | {"info": "", "parameters": parameters | {"warnings": warnings}}).encode()


def _additions(task: Task) -> Additions:
    scripts = _json(task.item.data).get("alwayson_scripts")
    asked = time.perf_counter() - max(0.0, time.time() - (task.item.call.created or time.time()))
    return Additions(additions_in(scripts).values, asked)


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
