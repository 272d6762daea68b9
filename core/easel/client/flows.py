"""What the client does, free of input and output: generators that yield calls and pauses, and are sent replies.

Both clients run the same ones. A connection that fails is thrown into the generator as `Unreachable`.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from easel.client.address import Address
from easel.client.errors import NotYet, Refused, TaskGone, Unreachable
from easel.client.values import Pictures, Progress, Result, Task

T = TypeVar("T")
_FIRST_POLL, _LONGEST_POLL = 2.0, 20.0  # seconds; between two polls a task that is gone is noticed
_MARGIN = 10.0  # seconds that an answer may come later than was asked
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between tries
_NOT_READY = 503
_REQUEST_ID, _JOB_ID = "x-eas-queueservice-request-id", "x-easel-job-id"
_SETTLING = 10.0  # seconds between a task's being taken and its being a job


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP call; a `repeatable` one may be sent again when it is not known what became of it."""

    method: str
    path: str  # below the service's address, with its query
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    repeatable: bool = True
    seconds: float | None = _MARGIN  # until it is given up; None: never


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body. Errors: Refused, for a body that another server must have sent."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(self.status, "the answer is not JSON; is this the address of the service?") from None


Flow = Generator[Call | Pause, Reply | None, T]


def pauses() -> Generator[float, None, None]:
    """How long to wait before the first, second, … repetition."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


def ask(at: Address, call: Call) -> Flow[Reply]:
    """The reply; a repeatable call is sent again while nobody answers. Errors: Unreachable, Refused."""
    until, lengths = time.monotonic() + at.patience, pauses()
    while True:
        last = not call.repeatable or time.monotonic() >= until
        try:
            reply = yield call
        except Unreachable:
            if last:
                raise
        else:
            assert reply is not None
            if reply.status != _NOT_READY or last:
                break
        yield Pause(next(lengths))
    if not 200 <= reply.status < 300:
        raise Refused(reply.status, _reason(reply))
    return reply


def _reason(reply: Reply) -> str:
    try:
        told = json.loads(reply.body)
        return str(told.get("detail") or told.get("errors") or told)
    except (ValueError, AttributeError):
        return reply.body.decode("utf-8", "replace").strip()[:500]


def submit(
    at: Address,
    what: str,
    body: Mapping[str, Any] | bytes,
    *,
    task_id: str,
    idempotency_key: str,
    priority: int,
    tags: Mapping[str, str],
) -> Flow[Task]:
    """Store a task. Sent again after a lost connection it is still one task, by its key."""
    path = what.strip("/") if "/" in what else f"sdapi/v1/{what}"
    query: dict[str, object] = {**tags}
    if task_id:
        query["task_id"] = task_id
    if priority:
        query["_priority_"] = priority
    call = Call(
        method="POST",
        path=at.queue(path, query),
        headers={"Content-Type": "application/json", "Idempotency-Key": idempotency_key or str(uuid.uuid4())},
        content=body if isinstance(body, bytes) else json.dumps(body).encode(),
    )
    reply = yield from ask(at, call)
    request_id, job_id = (reply.headers.get(name, "") for name in (_REQUEST_ID, _JOB_ID))
    return Task(int(reply.json()), request_id, task_id, job_id)


def wait(at: Address, task: Task, timeout: float | None, *, keep: bool) -> Flow[Result]:
    """The result of a task, taken out of the sink unless `keep`. Errors: NotYet, TaskFailed, TaskGone."""
    until = time.monotonic() + timeout if timeout is not None else float("inf")
    poll = _FIRST_POLL
    while (result := (yield from _result(at, task, min(poll, until - time.monotonic())))) is None:
        poll = min(2 * poll, _LONGEST_POLL)
        if time.monotonic() >= until:
            raise NotYet(task, timeout or 0.0)
        if (yield from _place(at, task)) is None:  # it has ended: what it came to is in the sink by now, or nowhere
            result = yield from _result(at, task, 0.0)
            if result is None:
                raise TaskGone(task)
            break
    if not keep:
        yield from take(at, result)
    return result.checked()


def _result(at: Address, task: Task, seconds: float) -> Flow[Result | None]:
    found = yield from results(at, 0, 1, seconds, {"requestId": task.request_id})
    return found[0] if found else None


def results(at: Address, start: int, count: int, seconds: float, tags: Mapping[str, str]) -> Flow[list[Result]]:
    """What is in the sink, as soon as there are `count` of them or when the time is over; nothing is removed."""
    seconds = max(0.0, seconds)
    asked = {"_index_": start, "_length_": count, "_timeout_": f"{round(seconds * 1000)}ms", "_raw_": "false"}
    path = at.queue("sink", {**asked, "_auto_delete_": "false", **tags})
    reply = yield from ask(at, Call(method="GET", path=path, seconds=seconds + _MARGIN))
    items = reply.json() if reply.body else []
    return [Result(int(item["index"]), base64.b64decode(item["data"]), item["tags"]) for item in items]


def _place(at: Address, task: Task) -> Flow[Mapping[str, Any] | None]:
    """Where a task is in the input; None when it is not there."""
    return (yield from _or_none(at, at.queue(query={"_search_": "true", "_index_": task.index})))


def take(at: Address, result: Result) -> Flow[None]:
    """Remove a result from the sink."""
    yield from ask(at, Call(method="DELETE", path=at.queue("sink", {"_indexes_": result.index})))


def commit(at: Address, result: Result) -> Flow[None]:
    """This client's group is done with a result."""
    yield from ask(at, Call(method="PUT", path=at.queue("sink", {"_indexes_": result.index})))


def progress(at: Address, task: Task) -> Flow[Progress]:
    """Where a task is."""
    place = yield from _place(at, task)
    if place is None:
        found = yield from _result(at, task, 0.0)
        return Progress(state="finished", fraction=1.0) if found is not None else Progress(state="gone")
    if not place.get("IsPending"):
        return Progress(state="waiting", ahead=int(place.get("WaitCount", 0)))
    job = yield from _job(at, task)
    if job is None:
        return Progress(state="running")
    numbers = {name: job[name] for name in ("stage", "step", "steps", "text")}
    return Progress(state="running", fraction=float(job["progress"]), **numbers)


def _job(at: Address, task: Task) -> Flow[Mapping[str, Any] | None]:
    """The job that a task became, once it has."""
    if not task.job_id:  # a task that was stored by another client, and is known by its numbers alone
        return None
    return (yield from _or_none(at, f"/easel/v1/jobs/{quote(task.job_id, safe='')}"))


def _or_none(at: Address, path: str) -> Flow[Mapping[str, Any] | None]:
    """What is at a path; None when there is nothing."""
    try:
        reply = yield from ask(at, Call(method="GET", path=path))
    except Refused as error:
        if error.status == 404:
            return None
        raise
    found: Mapping[str, Any] = reply.json()
    return found


def cancel(at: Address, task: Task) -> Flow[bool]:
    """Withdraw a task that waits, stop one that runs; whether it was neither finished nor gone."""
    until = time.monotonic() + _SETTLING
    place = yield from _place(at, task)
    if place is not None and not place.get("IsPending"):
        yield from ask(at, Call(method="DELETE", path=at.queue(query={"_indexes_": task.index})))
        yield from _stop(at, task)  # it may have been taken in between
        return True
    while place is not None:
        if (yield from _stop(at, task)):
            return True
        if time.monotonic() > until:
            raise Refused(409, f"task {task} was taken by a worker, and cannot be stopped")
        yield Pause(_FIRST_PAUSE)
        place = yield from _place(at, task)
    return False


def _stop(at: Address, task: Task) -> Flow[bool]:
    job = yield from _job(at, task)
    if job is None or job["state"] not in ("queued", "running"):
        return False
    yield from ask(at, Call(method="POST", path=f"/easel/v1/jobs/{job['id']}/cancel"))
    return True


def pictures(at: Address, what: str, fields: Mapping[str, Any], timeout: float | None) -> Flow[Pictures]:
    """A synchronous call; repeated after a lost connection it joins the job that it began."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    content = json.dumps(fields).encode()
    call = Call(method="POST", path=f"/sdapi/v1/{what}", headers=headers, content=content, seconds=timeout)
    reply = yield from ask(at, call)
    answer = reply.json()
    try:
        images = tuple(base64.b64decode(image) for image in answer["images"])
        return Pictures(images=images, info=json.loads(answer["info"] or "{}"), parameters=answer["parameters"])
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise Refused(reply.status, "the answer has no pictures; is this the address of the service?") from None


def picture(at: Address, path: str) -> Flow[bytes]:
    """A saved picture, by the path that a result names."""
    reply = yield from ask(at, Call(method="GET", path=f"/file={quote(path)}", seconds=60.0))
    return reply.body


def jobs(at: Address) -> Flow[list[Mapping[str, Any]]]:
    """The caller's jobs, the newest first."""
    reply = yield from ask(at, Call(method="GET", path="/easel/v1/jobs"))
    found: list[Mapping[str, Any]] = reply.json()
    return found
