"""How far jobs are, and stopping them: `/sdapi/v1/progress`, `interrupt`, `skip`, `/internal/progress`."""

from __future__ import annotations

import base64
import time
import zlib
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from easel.api.auth import user_of
from easel.api.sdapi_models import ProgressBody
from easel.values.job import JobState

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.values.job import Job

STARTING = "A worker is starting"


def routes(app: Easel) -> APIRouter:
    """The routes clients poll."""
    router = APIRouter(tags=["progress"])

    @router.get("/sdapi/v1/progress")
    async def progress(request: Request, skip_current_image: bool = False) -> dict[str, Any]:
        """The caller's oldest running job; all zero when none runs."""
        running = _running(app, request)
        if not running:
            starting = app.jobs.bare and bool(app.jobs.waiting(user_of(request).name))
            return _idle() | ({"textinfo": STARTING} if starting else {})
        return _progress(app, running[0], with_image=not skip_current_image)

    @router.post("/sdapi/v1/interrupt")
    async def interrupt(request: Request) -> dict[str, Any]:
        """Stop the caller's running jobs after their step; they answer with what they have."""
        for job in _running(app, request):
            app.jobs.signal("interrupt", job)
        return {}

    @router.post("/sdapi/v1/skip")
    async def skip(request: Request) -> None:
        """The same for their present batch only."""
        for job in _running(app, request):
            app.jobs.signal("skip", job)

    @router.get("/internal/ping")
    async def ping() -> dict[str, Any]:
        """Answers as soon as the server does; needs no token."""
        return {}

    @router.get("/internal/pending-tasks")
    async def pending_tasks(request: Request) -> dict[str, Any]:
        """The caller's jobs in line, by their clients' names."""
        tasks = [job.name or job.id for job in app.jobs.waiting(user_of(request).name)]
        return {"size": len(tasks), "tasks": tasks}

    @router.post("/internal/progress")
    async def task_progress(body: ProgressBody, request: Request) -> dict[str, Any]:
        """One job of the caller, by `force_task_id` or job id."""
        return _task(app, body, user_of(request).name)

    @router.get("/queue/status")
    async def queue_status(request: Request) -> dict[str, Any]:
        """What some clients ask to see whether a server is there."""
        return {
            "msg": "estimation",
            "rank": None,
            "queue_size": len(app.jobs.waiting(user_of(request).name)),
            "avg_event_process_time": 0.0,
            "avg_event_concurrent_process_time": None,
            "rank_eta": None,
            "queue_eta": 1.0,
        }

    return router


def _idle() -> dict[str, Any]:
    return {"progress": 0.0, "eta_relative": 0.0, "state": _state(), "current_image": None, "textinfo": None}


def _progress(app: Easel, job: Job, *, with_image: bool) -> dict[str, Any]:
    told = job.progress
    fraction = min(1.0, 0.01 + told.fraction)
    batches = job.request.n_iter
    batch = min(batches, 1 + told.part * batches // max(1, told.parts))
    name = f"Batch {batch} out of {batches}" if batches > 1 else f"scripts_{job.request.kind}"
    preview = told.preview if with_image else None
    return {
        "progress": fraction,
        "eta_relative": _eta(app, job, fraction),
        "state": _state(job, name),
        "current_image": base64.b64encode(preview).decode("ascii") if preview else None,
        "textinfo": told.text or None,
    }


def _state(job: Job | None = None, name: str = "") -> dict[str, Any]:
    told = job.progress if job else None
    return {
        "skipped": bool(job and job.stopping and not job.interrupted),
        "interrupted": bool(job and job.interrupted),
        "stopping_generation": False,
        "job": name,
        "job_count": told.parts if told else 0,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(job.created if job else 0)),
        "job_no": told.part if told else 0,
        "sampling_step": told.step if told else 0,
        "sampling_steps": told.steps if told else 0,
    }


def _eta(app: Easel, job: Job, fraction: float) -> float:
    elapsed = app.jobs.elapsed(job)
    return elapsed / fraction - elapsed


def _running(app: Easel, request: Request) -> list[Job]:
    return [job for job in app.jobs.running() if job.user == user_of(request).name]


def _task(app: Easel, body: ProgressBody, user: str) -> dict[str, Any]:
    job = app.jobs.find(body.id_task, user)
    state = app.jobs.state(job) if job else None
    line = [waiting.id for waiting in app.jobs.waiting(user)]
    answer: dict[str, Any] = {
        "active": state is JobState.RUNNING,
        "queued": state is JobState.QUEUED,
        "completed": bool(state and state.final),
        "progress": None,
        "eta": None,
        "live_preview": None,
        "id_live_preview": body.id_live_preview,
        "textinfo": "Waiting...",
    }
    if job is not None and state is JobState.QUEUED:
        place = line.index(job.id) + 1 if job.id in line else 1
        answer["textinfo"] = STARTING if app.jobs.bare else f"In queue: {place}/{max(len(line), 1)}"
    if job is not None and state is JobState.RUNNING:
        told = job.progress
        answer |= {"progress": told.fraction, "textinfo": told.text or None}
        answer["eta"] = _eta(app, job, told.fraction) if told.fraction else None
        if body.live_preview and told.preview:
            number = zlib.crc32(told.preview)
            if number != body.id_live_preview:
                kind = "png" if told.preview.startswith(b"\x89PNG") else "jpeg"
                image = base64.b64encode(told.preview).decode("ascii")
                answer |= {"live_preview": f"data:image/{kind};base64,{image}", "id_live_preview": number}
    return answer
