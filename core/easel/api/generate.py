"""txt2img and img2img: resolve, queue, wait; whoever hangs up frees the place."""

from __future__ import annotations

import asyncio
import logging
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse

from easel.api.auth import user_of
from easel.api.describe import IMG2IMG, TXT2IMG
from easel.api.errors import error_response
from easel.api.pai import additions_in, failed
from easel.api.replay import task_of
from easel.api.requests import read_request
from easel.api.responses import generation_response
from easel.api.sdapi_models import GenerationResponse, Img2ImgBody, Txt2ImgBody
from easel.errors import BadRequest, EaselError
from easel.jobs.record import Once

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.values.job import Job
    from easel.values.result import Result

log = logging.getLogger("easel.api")
Answer = GenerationResponse | JSONResponse
_LONGEST_KEY = 255  # characters
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"description": "The job, for a caller that does not wait (`Prefer: respond-async`)"}
}


def routes(app: Easel) -> APIRouter:
    """`POST /sdapi/v1/txt2img` and `/sdapi/v1/img2img`."""
    router = APIRouter(prefix="/sdapi/v1", tags=["pictures"])

    @router.post("/txt2img", response_model=GenerationResponse, responses=_ACCEPTED)
    async def txt2img(body: Annotated[Txt2ImgBody, Body(examples=[TXT2IMG])], request: Request) -> Answer:
        """Pictures from a text."""
        return await _answer(app, body, request)

    @router.post("/img2img", response_model=GenerationResponse, responses=_ACCEPTED)
    async def img2img(body: Annotated[Img2ImgBody, Body(examples=[IMG2IMG])], request: Request) -> Answer:
        """Pictures from a text and a picture."""
        return await _answer(app, body, request)

    return router


async def _answer(app: Easel, body: Txt2ImgBody | Img2ImgBody, request: Request) -> Answer:
    """The answer; an error about a request with PAI's additions comes in PAI's envelope, beside A1111's keys."""
    additions = additions_in(body.alwayson_scripts)
    try:
        return await _generate(app, body, request)
    except EaselError as error:
        if not additions and task_of(request.scope) is None:
            raise
        return error_response(error, more=failed(additions, error))


async def _generate(app: Easel, body: Txt2ImgBody | Img2ImgBody, request: Request) -> Answer:
    """`Prefer: respond-async` answers at once with the job; `Idempotency-Key` makes a repeated call count once."""
    begin = time.perf_counter()
    once = _once(body, request)
    task = task_of(request.scope)
    asked = await asyncio.to_thread(read_request, app, body, task)
    job = await asyncio.to_thread(
        app.jobs.submit,
        asked.request,
        user=user_of(request).name,
        name=asked.name or (task.item.tags.get("task_id", "") if task else ""),
        once=once,
        told=asked.report,
        id=task.id if task else "",
        created=task.item.call.created if task else 0.0,
    )
    if "respond-async" in request.headers.get("prefer", "").lower():
        told = {"id": job.id, "id_task": job.name, "url": f"easel/v1/jobs/{job.id}"}
        return JSONResponse(told, 202, {"Preference-Applied": "respond-async", "Location": f"/{told['url']}"})
    result = await _wait(app, job, request)
    if app.settings.time_log:
        parts = ", ".join(f"{part} {seconds:.3f}" for part, seconds in result.seconds.items())
        cold = app.jobs.cold_start(job)
        parts = f"cold start {cold:.3f}, {parts}" if cold else parts
        log.info("job %s took %.3f s: %s", job.id, time.perf_counter() - begin, parts)
    return await asyncio.to_thread(generation_response, asked, job, result, app.settings, pai=task is not None)


def _once(body: Txt2ImgBody | Img2ImgBody, request: Request) -> Once | None:
    key = request.headers.get("idempotency-key", "").strip()
    if not key:
        return None
    if len(key) > _LONGEST_KEY:
        allowed = f"up to {_LONGEST_KEY} characters"
        raise BadRequest("is too long", field="Idempotency-Key", value=key, allowed=allowed)
    return Once(key, sha256(f"{request.url.path} {body.model_dump_json()}".encode()).hexdigest())


async def _wait(app: Easel, job: Job, request: Request) -> Result:
    """The job's result; a caller that hangs up cancels the job (not with `--keep-abandoned`), so does a shutdown."""
    waiting = asyncio.ensure_future(app.jobs.wait(job))
    hung_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((waiting, hung_up), return_when=asyncio.FIRST_COMPLETED)
    finally:
        abandoned = hung_up.done() and app.settings.keep_abandoned
        hung_up.cancel()
        if not waiting.done() and not abandoned:
            app.jobs.signal("cancel", job)
    return await waiting


async def _hung_up(request: Request) -> None:
    """Return when the caller closes the connection; the body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
