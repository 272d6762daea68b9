"""A job while it waits and runs, for the page: its place in line, how far it is, the time left, the preview."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from html import escape
from typing import TYPE_CHECKING

from easel.values.job import JobState

if TYPE_CHECKING:
    from easel.ui.page import Page
    from easel.values.job import Job

_PACE = 0.2  # seconds between two pictures of the progress, at least
_SILENCE = 1.0  # seconds after which the time left is told again


async def follow(page: Page, job: Job) -> AsyncIterator[str]:
    """HTML at every change until the job has ended. Errors: NotFound (long gone)."""
    loop, changed, jobs = asyncio.get_running_loop(), asyncio.Event(), page.app.jobs
    with jobs.listening(job, lambda: loop.call_soon_threadsafe(changed.set)):
        shown = ""
        while not (state := jobs.state(job)).final:
            changed.clear()
            told = _progress(page, job, state)
            if told != shown:
                shown = told
                yield told
            begin = time.monotonic()
            try:
                await asyncio.wait_for(changed.wait(), _SILENCE)
            except TimeoutError:
                continue
            if not jobs.state(job).final:
                await asyncio.sleep(max(0.0, _PACE - (time.monotonic() - begin)))


def _progress(page: Page, job: Job, state: JobState) -> str:
    told, fraction = job.progress, job.progress.fraction
    if state is JobState.QUEUED:
        line = [one.id for one in page.app.jobs.waiting(job.user)]
        place = line.index(job.id) + 1 if job.id in line else 1
        text = f"{page.text('In queue')}: {place}/{max(len(line), 1)}"
        if page.app.jobs.bare:
            text = page.text("A worker is starting")
    else:
        elapsed = page.app.jobs.elapsed(job)
        left = f"{_minutes(elapsed / fraction - elapsed)} {page.text('left')}" if fraction > 0.02 else ""
        stage = "" if told.stage in ("", "first") else page.text(told.stage)
        text = " · ".join(part for part in (f"{fraction:.0%}", stage, told.text, left) if part)
    preview = ""
    if told.preview is not None:
        kind = "png" if told.preview.startswith(b"\x89PNG") else "jpeg"
        encoded = base64.b64encode(told.preview).decode("ascii")
        preview = f'<img class="easel-preview" alt="" src="data:image/{kind};base64,{encoded}">'
    return (
        f'<div class="easel-running" role="status" data-job="{job.id}"><div class="easel-bar">'
        f'<div style="width:{max(1, round(fraction * 100))}%"></div><span>{escape(text)}</span></div>{preview}</div>'
    )


def _minutes(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
