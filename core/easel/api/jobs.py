"""Jobs by id: list, state with the full report, progress as events, pictures, cancel; `/easel/v1/jobs`.

A caller sees its own jobs only; another's are not found, as if they did not exist.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from easel.api.auth import user_of
from easel.errors import EaselError, NotFound
from easel.values.job import JobState
from easel.values.result import Result

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.values.job import Job
    from easel.values.user import User

_LISTED = 100
TRACED = 1000  # lines that are told of a job
_SILENCE = 15.0  # seconds after which a comment keeps the connection of an event stream alive


def routes(app: Easel) -> APIRouter:
    """`/easel/v1/jobs`."""
    router = APIRouter(prefix="/easel/v1/jobs", tags=["jobs"])

    @router.get("")
    async def jobs(request: Request) -> list[dict[str, Any]]:
        """The caller's jobs, the newest first: waiting, running, and for a while the finished ones."""
        mine = [job for job in app.jobs.all() if _sees(user_of(request), job)]
        return [_summary(app, job) for job in reversed(mine[-_LISTED:])]

    @router.get("/{job_id}")
    async def job(job_id: str, request: Request) -> dict[str, Any]:
        """One job: its state, and once it is finished what became of every part of its request."""
        return _described(app, _own(app, request, job_id))

    @router.get("/{job_id}/events", response_class=StreamingResponse)
    async def events(job_id: str, request: Request, previews: bool = True) -> StreamingResponse:
        """Server-sent events: `progress` at every change, previews as data URIs, and `end` with the whole job."""
        stream = _events(app, _own(app, request, job_id), previews=previews)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @router.get("/{job_id}/images/{number}", response_class=Response)
    async def image(job_id: str, number: int, request: Request) -> Response:
        """One picture of a finished job, as it was encoded."""
        found = app.jobs.outcome(_own(app, request, job_id))
        if not isinstance(found, Result) or not 0 <= number < len(found.images):
            raise NotFound("this job has no such picture")
        one = found.images[number]
        return Response(one.data, media_type=f"image/{one.format}", headers={"Cache-Control": "private"})

    @router.get("/{job_id}/images.zip", response_class=Response)
    async def images(job_id: str, request: Request) -> Response:
        """All pictures of a finished job, as they were encoded, in one file."""
        job = _own(app, request, job_id)
        found = app.jobs.outcome(job)
        if not isinstance(found, Result) or not found.images:
            raise NotFound("this job has no pictures")
        headers = {"Cache-Control": "private", "Content-Disposition": f'attachment; filename="{job.id}.zip"'}
        return Response(await asyncio.to_thread(_zipped, found), media_type="application/zip", headers=headers)

    @router.post("/{job_id}/{what}")
    async def stop(job_id: str, what: Literal["cancel", "interrupt", "skip"], request: Request) -> dict[str, Any]:
        """Stop a job: without a result, after its step with what it has, or only its present batch."""
        own = _own(app, request, job_id)
        await asyncio.to_thread(app.jobs.signal, what, own)
        return _summary(app, own)

    return router


def _zipped(result: Result) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:  # pictures are small already
        for number, one in enumerate(result.images):
            name = one.path.rpartition("/")[2] if one.path else f"{one.kind}-{number}.{one.format}"
            archive.writestr(name, one.data)
    return packed.getvalue()


def _sees(user: User, job: Job) -> bool:
    return user.admin or job.user == user.name


def _own(app: Easel, request: Request, job_id: str) -> Job:
    job = app.jobs.find(job_id)
    if job is None or not _sees(user_of(request), job):
        raise NotFound("there is no such job")
    return job


def _summary(app: Easel, job: Job) -> dict[str, Any]:
    state, told = app.jobs.state(job), job.progress
    waiting = [one.id for one in app.jobs.waiting()] if state is JobState.QUEUED else []
    return {
        "id": job.id,
        "id_task": job.name,
        "kind": job.request.kind,
        "state": state.value,
        "created": job.created,
        "position": waiting.index(job.id) + 1 if job.id in waiting else None,  # in the line
        "progress": 1.0 if state is JobState.DONE else told.fraction,
        "stage": "start" if state is JobState.QUEUED and app.jobs.bare else told.stage,
        "step": told.step,
        "steps": told.steps,
        "text": told.text,
        "elapsed": round(app.jobs.elapsed(job), 3),
        "cold_start": round(app.jobs.cold_start(job), 3),  # seconds of waiting in which no worker was there
    }


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {part: round(spent, 4) for part, spent in seconds.items()}


def _described(app: Easel, job: Job) -> dict[str, Any]:
    described = _summary(app, job)
    try:
        outcome = app.jobs.outcome(job)
    except NotFound:
        outcome = None  # forgotten; the state is still known
    match outcome:
        case Result():
            described |= {
                "info": dict(outcome.info),
                "report": [asdict(line) for line in (*job.told, *outcome.report)],
                "trace": [asdict(line) for line in outcome.trace[:TRACED]],
                "warnings": list(outcome.warnings),
                "seconds": _rounded(outcome.seconds),
                "interrupted": outcome.interrupted,
                "receipt": None if outcome.receipt is None else asdict(outcome.receipt),
                "images": [
                    {"kind": one.kind, "seed": one.seed, "path": one.path, "url": f"easel/v1/jobs/{job.id}/images/{k}"}
                    for k, one in enumerate(outcome.images)
                ],
            }
        case EaselError():
            described["error"] = {"status": outcome.code, "message": outcome.message}
            described["seconds"] = _rounded(app.jobs.seconds(job))
    return described


async def _events(app: Easel, job: Job, *, previews: bool) -> AsyncIterator[str]:
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    shown: bytes | None = None
    with app.jobs.listening(job, lambda: loop.call_soon_threadsafe(changed.set)):
        while not app.jobs.state(job).final:
            told = _summary(app, job)
            if previews and (preview := job.progress.preview) is not None and preview is not shown:
                shown = preview
                kind = "png" if preview.startswith(b"\x89PNG") else "jpeg"
                told["preview"] = f"data:image/{kind};base64,{base64.b64encode(preview).decode('ascii')}"
            yield _event("progress", told)
            try:
                await asyncio.wait_for(changed.wait(), _SILENCE)
            except TimeoutError:
                yield ": still there\n\n"
            changed.clear()
    yield _event("end", _described(app, job))


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, default=lambda value: None)}\n\n"
