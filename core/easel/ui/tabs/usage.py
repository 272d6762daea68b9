"""Usage: where the seconds of my finished jobs went, as far as these are known."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import gradio as gr

from easel.errors import EaselError
from easel.ui.markup import Html, joined, live, tag
from easel.values.job import JobState
from easel.values.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from easel.ui.page import Page

TITLE = "Usage"
_ORDER = ("load", "encode", "denoise", "decode", "save")


def build(page: Page) -> None:
    """The tab."""
    shown = live(elem_id="easel-usage")

    def refresh(request: gr.Request) -> Html:
        return _usage(page, page.user(request).name)

    shown.opened(refresh, None, shown, show_progress="hidden")
    shown.tick(refresh, None, shown, show_progress="hidden")


def _results(page: Page, user: str) -> Iterator[Result]:
    jobs = page.app.jobs
    for job in jobs.all():
        try:
            outcome = jobs.outcome(job) if job.user == user and jobs.state(job) is JobState.DONE else None
        except EaselError:
            continue  # forgotten
        if isinstance(outcome, Result):
            yield outcome


def _usage(page: Page, user: str) -> Html:
    text, jobs, pictures = page.text, 0, 0
    seconds: defaultdict[str, float] = defaultdict(float)
    for result in _results(page, user):
        jobs, pictures = jobs + 1, pictures + sum(one.kind == "result" for one in result.images)
        for part, spent in result.seconds.items():
            seconds[part] += spent
    total = sum(seconds.values())
    parts = sorted(seconds, key=lambda part: (_ORDER.index(part) if part in _ORDER else len(_ORDER), part))
    figures = (
        (text("Finished jobs"), str(jobs)),
        (text("Pictures"), str(pictures)),
        (text("Seconds of computing"), f"{total:.1f}"),
        (text("Seconds for one picture"), f"{total / pictures:.2f}" if pictures else "–"),
    )
    rows = [
        tag(
            "tr",
            tag("td", text(part)),
            tag("td", f"{seconds[part]:.2f}", class_="number"),
            tag("td", tag("progress", value=f"{seconds[part] / total if total else 0:.3f}", max=1)),
            tag("td", f"{seconds[part] / total if total else 0:.0%}", class_="number"),
        )
        for part in parts
    ]
    heads = (tag("th", text(head), scope="col") for head in ("Part", "Seconds", "", "Share"))
    return joined(
        [
            tag(
                "div",
                *(tag("div", tag("strong", value), tag("span", name)) for name, value in figures),
                class_="easel-figures",
            ),
            tag("div", tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows)), class_="easel-table")
            if rows
            else "",
            tag(
                "p",
                text("Of the finished jobs that this service still knows: some hundred, until it is started again."),
                class_="easel-quiet",
            ),
        ]
    )
