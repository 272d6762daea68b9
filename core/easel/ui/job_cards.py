"""Jobs as cards, and one of them in detail, as HTML."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

from easel.errors import EaselError
from easel.ui.markup import Html, joined, table, tag
from easel.ui.traced import explained
from easel.values.job import JobState
from easel.values.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from easel.ui.page import Page
    from easel.values.job import Job

_SHOWN = 40
_PICTURES = 4  # of one job, in the list
_COLOURS = {JobState.DONE: "good", JobState.FAILED: "bad", JobState.CANCELLED: "fair", JobState.RUNNING: "busy"}


def cards(page: Page, jobs: Sequence[Job]) -> Html:
    """The newest of these jobs, which come the newest first."""
    if not jobs:
        return tag("p", page.text("No jobs yet: what you make appears here."), class_="easel-quiet")
    line = [job.id for job in page.app.jobs.waiting()]
    return tag("div", *(_card(page, job, line) for job in jobs[:_SHOWN]), class_="easel-jobs")


def _card(page: Page, job: Job, line: Sequence[str]) -> Html:
    try:
        state = page.app.jobs.state(job)
    except EaselError:
        return Html()  # gone since the list was made
    return tag(
        "article",
        tag("div", *_pictures(page, job, state), class_="pictures"),
        tag(
            "div",
            tag(
                "p",
                tag("span", page.text(state.value), class_=f"easel-badge {_COLOURS.get(state, '')}"),
                *_facts(page, job),
            ),
            tag("p", _title(page, job), class_="prompt"),
            joined(_progress(page, job, state, line)),
            class_="about",
        ),
        tag("div", *_buttons(page, job, state), class_="buttons"),
        class_="easel-panel",
        data_job=job.id,
    )


def _title(page: Page, job: Job) -> str:
    task = job.request.task
    if task is not None:
        return f"{task.extension}: {task.task}" if task.extension else page.text(task.task)
    return job.request.prompt[:300] or page.text("(no prompt)")


def _facts(page: Page, job: Job) -> Iterator[object]:
    request = job.request
    parts = [time.strftime("%H:%M:%S", time.localtime(job.created))]
    if request.kind != "task":
        count = request.batch_size * request.n_iter
        parts += [page.text(request.kind), f"{request.width}×{request.height}", f"{request.steps} {page.text('steps')}"]
        parts += [f"{count} {page.text('pictures')}"] if count > 1 else []
    if request.explain:
        parts.append(page.text("explained only"))
    yield tag("small", " · ".join(parts))


def _progress(page: Page, job: Job, state: JobState, line: Sequence[str]) -> Iterator[object]:
    match state:
        case JobState.QUEUED:
            place = line.index(job.id) + 1 if job.id in line else 1
            queued = f"{page.text('In queue')}: {place}/{max(len(line), place)}"
            yield tag("small", page.text("A worker is starting") if page.app.jobs.bare else queued)
        case JobState.RUNNING:
            fraction, elapsed = job.progress.fraction, page.app.jobs.elapsed(job)
            left = f" · {elapsed / fraction - elapsed:.0f} s {page.text('left')}" if fraction > 0.02 else ""
            yield tag("progress", value=f"{fraction:.3f}", max=1)
            yield tag("small", f"{fraction:.0%} · {elapsed:.0f} s{left}")
        case JobState.FAILED:
            yield tag("small", _reason(page, job), class_="wrong")


def _reason(page: Page, job: Job) -> str:
    try:
        outcome = page.app.jobs.outcome(job)
    except EaselError as error:
        outcome = error
    return page.text(outcome.message) if isinstance(outcome, EaselError) else ""


def _pictures(page: Page, job: Job, state: JobState) -> Iterator[Html]:
    if state is JobState.RUNNING and (preview := job.progress.preview) is not None:
        kind = "png" if preview.startswith(b"\x89PNG") else "jpeg"
        yield tag("img", src=f"data:image/{kind};base64,{base64.b64encode(preview).decode('ascii')}", alt="")
    elif state is JobState.DONE and (result := _result(page, job)) is not None:
        for number in range(min(len(result.images), _PICTURES)):
            yield _picture(job, number)


def _picture(job: Job, number: int) -> Html:
    address = f"easel/v1/jobs/{job.id}/images/{number}"
    return tag("a", tag("img", src=address, alt="", loading="lazy"), href=address, target="_blank")


def _result(page: Page, job: Job) -> Result | None:
    try:
        outcome = page.app.jobs.outcome(job)
    except EaselError:
        return None  # forgotten
    return outcome if isinstance(outcome, Result) else None


def _buttons(page: Page, job: Job, state: JobState) -> Iterator[Html]:
    def button(act: str, title: str) -> Html:
        return tag("button", page.text(title), type="button", data_act=act, data_job=job.id)

    if not state.final:
        if state is JobState.RUNNING and job.request.kind != "task":
            yield button("interrupt", "Interrupt")
        yield button("cancel", "Cancel")
        return
    kept = job.request.kind != "img2img" or job.request.init is not None  # the pictures it began with
    if kept:
        yield button("again", "Run again")
        if job.request.kind != "task":
            yield button("new-seed", "New seed")
    if state is JobState.DONE:
        yield button("details", "Details")


def finished(page: Page, job: Job) -> Html:
    """One job to its end: its pictures, where its seconds went, who changed what."""
    result = _result(page, job)
    if result is None:
        return tag("p", page.text("The result of this job is not kept any more"), class_="easel-quiet")
    seconds = [(page.text(part), f"{spent:.2f}") for part, spent in result.seconds.items()]
    return tag(
        "section",
        tag("h3", _title(page, job)),
        tag("div", *(_picture(job, number) for number in range(len(result.images))), class_="easel-pictures"),
        explained(result, job.told, page.text),
        tag("h4", page.text("Where the time went")),
        table([page.text("Part"), page.text("Seconds")], seconds),
        class_="easel-panel",
    )
