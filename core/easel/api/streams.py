"""The queue service of an asynchronous edition: streams over HTTP, and tasks that are put into the input.

`/api/predict/NAME` is the input, `/api/predict/NAME/sink` the sink, `POST /api/predict/NAME/<path>` submits a task for
the API's `<path>`. The wire protocol is the one that Alibaba's clients speak; where they are strict or odd, the lines
that serve them say so.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from easel.api.auth import user_of
from easel.killpoints import killpoint
from easel.streams import frames
from easel.streams.items import REQUEST_ID, Call, Interest, Item, job_id
from easel.streams.store import Put

if TYPE_CHECKING:
    from easel.streams.service import QueueService

UID, GID, PRIORITY = (f"X-EAS-QueueService-Redis-{end}" for end in ("Uid", "Gid", "Priority"))
REAR = "X-EAS-QueueService-Access-Rear"
_REQUEST_HEADER = "X-Eas-Queueservice-Request-Id"
_JOB_HEADER = "X-Easel-Job-Id"
_MOST_TAGS, _MOST_TAG_BYTES, _MOST_ITEMS, _LONGEST_POLL = 32, 4096, 1000, 60.0
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_PRINTABLE = re.compile(r"[!-~]{1,128}")
_CODE = re.compile(r"[A-Za-z0-9]+([ _.:-][A-Za-z0-9]+)?")


def routes(queue: QueueService) -> APIRouter:
    """The queue's HTTP routes; WebSockets are in `watch.py`."""
    router = APIRouter(tags=["asynchronous"])

    @router.api_route("/api/predict/{path:path}", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
    async def serve(path: str, request: Request) -> Response:
        """One operation; which one, method and marker parameters say."""
        service, below = split_path(path, queue.service)
        if below not in ("", "sink") and request.method != "POST":
            raise HTTPException(404, f"there is no queue at this path; queues: {service}, {service}/sink")
        if below not in ("", "sink"):
            return await _submit(queue, below, request)
        stream = queue.stream(below, rear=is_true(request.headers.get(REAR, "false"), REAR))
        operation = {"GET": _get, "POST": _put, "PUT": _commit, "DELETE": _delete}[request.method]
        return await operation(queue, stream, request)

    return router


def split_path(path: str, service: str) -> tuple[str, str]:
    """(service, what is below it). Errors: 404 for another service. A path that comes twice counts once."""
    for doubled in (f"{service}/api/predict/{service}", service):
        if path.rstrip("/") == doubled:
            return service, ""
        if path.startswith(f"{doubled}/"):
            return service, path.removeprefix(f"{doubled}/").strip("/")
    raise HTTPException(404, f"there is no service of this name; there is: {service}")


async def _put(queue: QueueService, stream: str, request: Request) -> Response:
    if "_eos_" in request.query_params:
        raise HTTPException(405, "this queue does not end")
    return await _append(queue, stream, request, Call())


async def _submit(queue: QueueService, path: str, request: Request) -> Response:
    user = user_of(request)
    call = Call(
        path=path,
        content_type=request.headers.get("content-type", ""),
        user=user.name,
        admin=user.admin,
        created=time.time(),
    )
    return await _append(queue, queue.input, request, call)


async def _append(queue: QueueService, stream: str, request: Request, call: Call) -> Response:
    """Store the body, answer with its index: digits and nothing else."""
    data = await _body(queue, request)
    tags = read_tags(request.query_params)
    tags.setdefault(REQUEST_ID, str(uuid.uuid4()))
    if not _PRINTABLE.fullmatch(tags[REQUEST_ID]):
        raise HTTPException(400, "requestId: allowed are 1 to 128 printable ASCII characters")
    key = request.headers.get("idempotency-key", "").strip()
    if len(key) > 255:
        raise HTTPException(400, "Idempotency-Key: allowed are up to 255 characters")
    priority = request.query_params.get("_priority_", request.headers.get(PRIORITY, "0"))
    item = Put(
        data=data,
        tags=tags,
        priority=whole(priority, "_priority_", least=0),
        call=call,
        key=f"{call.user}\0{key}" if key else "",
        fingerprint=sha256(f"{call.path}\0".encode() + data).hexdigest(),
    )
    killpoint("accepted")
    index, request_id = await asyncio.to_thread(queue.store.put, stream, item)
    killpoint("stored")
    headers = {_REQUEST_HEADER: request_id}
    if stream == queue.input:
        headers[_JOB_HEADER] = job_id(stream, index, request_id)  # in /easel/v1/jobs, once it is taken
    return PlainTextResponse(str(index), headers=headers)


async def _body(queue: QueueService, request: Request) -> bytes:
    said = request.headers.get("content-length", "")
    data = b"" if said.isdecimal() and int(said) > queue.max_payload else await request.body()
    if len(data) > queue.max_payload or (said.isdecimal() and int(said) > queue.max_payload):
        raise HTTPException(
            413,
            f"the body is larger than {queue.max_payload} bytes (--queue-max-payload): name pictures by URL "
            "(image_link) and have results saved (save_dir)",
        )
    return data


async def _get(queue: QueueService, stream: str, request: Request) -> Response:
    asked = request.query_params
    protobuf = frames.MEDIA_TYPE in request.headers.get("accept", "")
    if is_true(asked.get("_watch_", "false"), "_watch_"):
        raise HTTPException(426, "watch over a WebSocket", headers={"Upgrade": "websocket"})
    if is_true(asked.get("_attrs_", "false"), "_attrs_"):
        values = await queue.attributes(stream)
        if protobuf:
            return Response(frames.attributes(values), media_type=frames.MEDIA_TYPE)
        return JSONResponse(values)
    if is_true(asked.get("_search_", "false"), "_search_"):
        return await _search(queue, stream, request)
    if is_true(asked.get("_count_", "false"), "_count_"):
        priority = whole(asked["_priority_"], "_priority_", least=0) if "_priority_" in asked else None
        found = await asyncio.to_thread(queue.store.count, stream, priority=priority, tags=read_tags(asked))
        return PlainTextResponse(str(found))
    return await _poll(queue, stream, request, protobuf)


async def _search(queue: QueueService, stream: str, request: Request) -> Response:
    index = whole(request.query_params.get("_index_", ""), "_index_")
    place = await asyncio.to_thread(queue.store.place, stream, index, interest_of(request.headers).group)
    if place is None:
        return PlainTextResponse("no data in stream", 404)
    told = {"ConsumerId": place.holder, "IsPending": bool(place.holder), "WaitCount": place.ahead}
    return JSONResponse(told)


async def _poll(queue: QueueService, stream: str, request: Request, protobuf: bool) -> Response:
    """Items as soon as there are enough of them, or what there is shortly before the asked time is over."""
    asked = request.query_params
    count = min(whole(asked.get("_length_", "1"), "_length_", least=1), _MOST_ITEMS)
    start, tags = whole(asked.get("_index_", "0"), "_index_"), read_tags(asked)
    if start < 0:
        facts = await asyncio.to_thread(queue.store.facts, stream)
        start = facts.last if facts.length else facts.given + 1
    raw, remove = (is_true(asked.get(name, "true"), name) for name in ("_raw_", "_auto_delete_"))
    if raw:
        count = 1
    asked_for = min(duration(asked.get("_timeout_", "0s")), _LONGEST_POLL)
    until = time.monotonic() + max(0.0, min(0.9 * asked_for, asked_for - 0.25))  # clients give up at the asked time
    while True:
        sound = queue.delivery.sound(stream)
        items = await asyncio.to_thread(lambda: queue.store.read(stream, start=start, count=count, tags=tags))
        left = until - time.monotonic()
        if len(items) >= count or left <= 0:
            break
        try:
            await asyncio.wait_for(sound.wait(), left)
        except TimeoutError:
            continue
    if not items:
        return Response(status_code=204)
    if raw:
        headers = {_REQUEST_HEADER: items[0].tags[REQUEST_ID]}
        answer = Response(items[0].data, media_type="application/octet-stream", headers=headers)
    elif protobuf:
        answer = Response(frames.frames(items), media_type=frames.MEDIA_TYPE)
    else:
        answer = JSONResponse([_as_json(item) for item in items])
    if not remove:
        return answer
    return _Taking(answer, lambda: _remove(queue, stream, [item.index for item in items]))


class _Taking(Response):
    """An answer that removes its items from the stream: after they were written, before this client's next call."""

    def __init__(self, answer: Response, remove: Callable[[], Awaitable[None]]) -> None:
        super().__init__(answer.body, answer.status_code)
        self.raw_headers, self._remove_items = answer.raw_headers, remove

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send, remove, end."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await self._remove_items()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _as_json(item: Item) -> dict[str, Any]:
    return {"index": item.index, "tags": dict(item.tags), "data": base64.b64encode(item.data).decode("ascii")}


async def _remove(queue: QueueService, stream: str, indexes: list[int]) -> None:
    await asyncio.to_thread(queue.store.delete, stream, indexes)
    queue.delivery.settled(stream, None, indexes)


async def _commit(queue: QueueService, stream: str, request: Request) -> Response:
    indexes = _indexes(request.query_params)
    group = interest_of(request.headers).group
    if is_true(request.query_params.get("_negative_", "false"), "_negative_"):
        code = QueryParams((await request.body()).decode("utf-8", "replace")).get("_code_", "")
        if code and (len(code) > 20 or not _CODE.fullmatch(code)):
            raise HTTPException(400, "_code_: allowed are up to 20 letters and digits, with one separator")
        await asyncio.to_thread(lambda: queue.store.release(stream, group, indexes, counted=code != "Shutdown"))
    else:
        await asyncio.to_thread(queue.store.commit, stream, group, indexes)
    queue.delivery.settled(stream, group, indexes)
    return PlainTextResponse("OK")


async def _delete(queue: QueueService, stream: str, request: Request) -> Response:
    if is_true(request.query_params.get("_trunc_", "false"), "_trunc_"):
        below = whole(request.query_params.get("_index_", ""), "_index_", least=0)
        await asyncio.to_thread(queue.store.truncate, stream, below)
        queue.delivery.truncated(stream, below)
    else:
        await _remove(queue, stream, _indexes(request.query_params))
    return PlainTextResponse("OK")


# -- reading parameters; what cannot be used is 400 in a short text


def read_tags(query: QueryParams) -> dict[str, str]:
    """Every parameter whose name does not begin with `_`; bytes that are no UTF-8 came in as U+FFFD."""
    tags = {name: value for name, value in query.items() if not name.startswith("_")}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in tags.items())
    if len(tags) > _MOST_TAGS or size > _MOST_TAG_BYTES:
        raise HTTPException(400, f"tags: allowed are {_MOST_TAGS} of them and {_MOST_TAG_BYTES} bytes together")
    return tags


def interest_of(headers: Headers, start: int = 0, tags: Mapping[str, str] | None = None) -> Interest:
    """Who calls, by the two headers; without them the group `eas` and a name that nobody else has."""
    group, consumer = headers.get(GID, "eas"), headers.get(UID) or str(uuid.uuid4())
    for name, value in ((GID, group), (UID, consumer)):
        if not _PRINTABLE.fullmatch(value):
            raise HTTPException(400, f"{name}: allowed are 1 to 128 printable ASCII characters")
    return Interest(group=group, consumer=consumer, start=start, tags=tags or {})


def whole(text: str, name: str, *, least: int = -(1 << 62)) -> int:
    """A whole number that an index can be."""
    if not re.fullmatch(r"-?\d{1,18}", text) or int(text) < least:
        raise HTTPException(400, f"{name}: {text[:40]!r} is not a whole number" + (f" from {least}" * (least >= 0)))
    return int(text)


def is_true(text: str, name: str) -> bool:
    """`true` or `false`, in any case."""
    if text.lower() not in ("true", "false"):
        raise HTTPException(400, f"{name}: {text[:40]!r} is neither true nor false")
    return text.lower() == "true"


def duration(text: str) -> float:
    """Seconds of a text as Go writes durations (`1m30s`, `500ms`), or of a bare number."""
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return float(text)
    found = _DURATION.fullmatch(text) if len(text) <= 40 else None
    if not found or not text:
        raise HTTPException(400, f"_timeout_: {text[:40]!r} is not a duration such as 5s, 500ms or 1m30s")
    return sum(float(part or 0) * unit for part, unit in zip(found.groups(), (3600.0, 60.0, 1.0, 0.001), strict=True))


def _indexes(query: QueryParams) -> list[int]:
    return [whole(part, "_indexes_") for part in query.get("_indexes_", "").split(",")]
