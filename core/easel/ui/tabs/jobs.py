"""Jobs: mine. Where they are in line, how far they are, what came of them; cancel and run again.

The list is the service's, not the page's: whoever loads the page again sees the same.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from easel.errors import BadRequest, EaselError
from easel.ui.job_cards import cards, finished
from easel.ui.markup import Html, failed, into_view, live

if TYPE_CHECKING:
    from easel.ui.page import Page
    from easel.values.job import Job
    from easel.values.user import User

TITLE = "Jobs"
_SEEDS = 2**32


def build(page: Page) -> None:
    """The tab."""
    shown = live(elem_id="easel-jobs")
    about = live(elem_id="easel-job")

    def refresh(request: gr.Request) -> Html:
        return cards(page, _mine(page, page.user(request)))

    def act(event: gr.EventData, request: gr.Request) -> tuple[Html, Any]:
        user = page.user(request)
        try:
            job = _named(page, user, event._data["job"])
            match event._data["act"]:
                case "cancel" | "interrupt" as what:
                    page.app.jobs.signal(what, job)
                case "again" | "new-seed" as what:
                    _again(page, user, job, new_seed=what == "new-seed")
                case _:
                    return cards(page, _mine(page, user)), finished(page, job)
        except EaselError as error:
            raise failed(error) from None
        return cards(page, _mine(page, user)), gr.skip()

    shown.opened(refresh, None, shown, show_progress="hidden")
    shown.tick(refresh, None, shown, show_progress="hidden")
    acted = shown.act(act, None, [shown, about], show_progress="hidden")
    acted.success(None, None, None, js=into_view("easel-job"))


def _mine(page: Page, user: User) -> list[Job]:
    """The user's jobs, the newest first."""
    return [job for job in reversed(page.app.jobs.all()) if job.user == user.name]


def _named(page: Page, user: User, name: str) -> Job:
    for job in _mine(page, user):
        if job.id == name:
            return job
    raise BadRequest("this job is not known any more", field="job", value=name)


def _again(page: Page, user: User, job: Job, *, new_seed: bool) -> None:
    """Queue the same request once more. Errors: JobRefused, those of its scripts."""
    request = job.request
    if new_seed:
        request = replace(request, seed=random.randrange(_SEEDS), seed_drawn=True)
    page.app.jobs.submit(request, user=user.name, told=job.told)
