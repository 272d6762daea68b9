"""txt2img and img2img: resolve, queue, wait; whoever hangs up frees the place."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from easel.api.auth import user_of
from easel.api.requests import read_request
from easel.api.responses import generation_response
from easel.api.sdapi_models import GenerationResponse, Img2ImgBody, Txt2ImgBody

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.values.job import Job
    from easel.values.result import Result

log = logging.getLogger("easel.api")


def routes(app: Easel) -> APIRouter:
    """`POST /sdapi/v1/txt2img` and `/sdapi/v1/img2img`."""
    router = APIRouter(prefix="/sdapi/v1", tags=["pictures"])

    @router.post("/txt2img")
    async def txt2img(body: Txt2ImgBody, request: Request) -> GenerationResponse:
        """Pictures from a text."""
        return await _generate(app, body, request)

    @router.post("/img2img")
    async def img2img(body: Img2ImgBody, request: Request) -> GenerationResponse:
        """Pictures from a text and a picture."""
        return await _generate(app, body, request)

    return router


async def _generate(app: Easel, body: Txt2ImgBody | Img2ImgBody, request: Request) -> GenerationResponse:
    begin = time.perf_counter()
    asked = await asyncio.to_thread(read_request, app, body)
    job = await asyncio.to_thread(app.jobs.submit, asked.request, user=user_of(request).name, name=asked.name)
    result = await _wait(app, job, request)
    if app.settings.time_log:
        parts = ", ".join(f"{part} {seconds:.3f}" for part, seconds in result.seconds.items())
        log.info("job %s took %.3f s: %s", job.id, time.perf_counter() - begin, parts)
    return await asyncio.to_thread(generation_response, asked, job, result)


async def _wait(app: Easel, job: Job, request: Request) -> Result:
    """The job's result; a caller that hangs up, or a server that shuts down, cancels the job."""
    waiting = asyncio.ensure_future(app.jobs.wait(job))
    hung_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((waiting, hung_up), return_when=asyncio.FIRST_COMPLETED)
    finally:
        hung_up.cancel()
        if not waiting.done():
            app.jobs.signal("cancel", job)
    return await waiting


async def _hung_up(request: Request) -> None:
    """Return when the caller closes the connection; the body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
