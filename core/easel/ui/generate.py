"""From the components' values to a picture: the request A1111's page would make, on the same road as the API's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from easel.api.requests import read_request
from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.errors import BadRequest, EaselError, JobCancelled
from easel.ui.follow import follow
from easel.ui.gallery import Made, gallery_html
from easel.values.result import Result

if TYPE_CHECKING:
    from easel.ui.page import Page
    from easel.ui.panel import Kind
    from easel.values.job import Job
    from easel.values.user import User

_BODIES: Mapping[str, type[Txt2ImgBody] | type[Img2ImgBody]] = {"txt2img": Txt2ImgBody, "img2img": Img2ImgBody}
Shown = tuple[str, str | None, str]  # HTML of the progress, HTML of the gallery (None: as it is), id of the job


async def generate(page: Page, user: User, kind: Kind, fields: Mapping[str, Any], made: Made) -> AsyncIterator[Shown]:
    """Run a request to its end; what the components show, at every change. Errors are shown too, and end it.

    `made`: the jobs whose pictures stand before this one's; it is added to them.
    """
    begin = time.monotonic()
    yield _beginning(page), None, ""
    try:
        job = await asyncio.to_thread(_submit, page, user, kind, fields)
    except EaselError as error:
        yield failure(page, error), None, ""
        return
    async for shown in watch(page, job, begin, made):
        yield shown


async def watch(page: Page, job: Job, begin: float, made: Made | None = None) -> AsyncIterator[Shown]:
    """A job from where it is now to its end. `begin`: monotonic seconds when it was asked for."""
    made = [] if made is None else made
    try:
        async for progress in follow(page, job):
            yield progress, None, job.id
        outcome = page.app.jobs.outcome(job)
    except EaselError as error:
        outcome = error
    match outcome:
        case Result():
            made.append((job, outcome))
            yield "", gallery_html(page, made, time.monotonic() - begin), job.id
        case JobCancelled():
            yield f'<p class="easel-warning">{escape(page.text("Cancelled."))}</p>', None, job.id
        case EaselError():
            yield failure(page, outcome), None, job.id


def failure(page: Page, error: EaselError) -> str:
    """What went wrong, in place of the progress."""
    return f'<p class="easel-error" role="alert">{escape(page.text(error.message))}</p>'


def _beginning(page: Page) -> str:
    return (
        f'<div class="easel-running" role="status"><div class="easel-bar">'
        f"<div></div><span>{escape(page.text('Beginning …'))}</span></div></div>"
    )


def _submit(page: Page, user: User, kind: Kind, fields: Mapping[str, Any]) -> Job:
    options = page.app.options
    saves = {"save_images": bool(options.get("samples_save"))}
    try:
        body = _BODIES[kind].model_validate({**saves, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(first["msg"], field=".".join(map(str, first["loc"])), value=first["input"]) from error
    asked = read_request(page.app, body)
    return page.app.jobs.submit(asked.request, user=user.name, name=asked.name, told=asked.report)
