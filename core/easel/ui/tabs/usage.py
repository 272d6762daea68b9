"""Usage: where the seconds of my finished jobs went, as far as these are known."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import gradio as gr

from easel.errors import EaselError
from easel.ui.markup import Html, joined, live, tag
from easel.values.job import JobState
from easel.values.result import QUEUE, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from easel.ui.page import Page

TITLE = "Usage"
_COMPUTED = ("load", "encode", "denoise", "decode", "compute", "save")  # parts that have no other in them
_LEAST = 0.005  # seconds that are shown


def build(page: Page) -> None:
    """The tab."""
    shown = live(elem_id="easel-usage")

    def refresh(request: gr.Request) -> Html:
        return usage(page, page.user(request).name)

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


def usage(page: Page, user: str) -> Html:
    """The figures of a user's jobs, as HTML."""
    text, jobs, pictures = page.text, 0, 0
    seconds: defaultdict[str, float] = defaultdict(float)
    for result in _results(page, user):
        jobs, pictures = jobs + 1, pictures + sum(one.kind == "result" for one in result.images)
        for part, spent in result.seconds.items():
            seconds[part] += spent
    total = sum(seconds[part] for part in _COMPUTED)
    figures = (
        (text("Finished jobs"), str(jobs)),
        (text("Pictures"), str(pictures)),
        (text("Seconds of computing"), f"{total:.1f}"),
        (text("Seconds for one picture"), f"{total / pictures:.2f}" if pictures else "–"),
    )
    hooks = sorted(part for part, spent in seconds.items() if part not in (QUEUE, *_COMPUTED) and spent >= _LEAST)
    rows = [
        *(_row(text(part), seconds[part], seconds[part] / total) for part in _COMPUTED if seconds[part]),
        *(_row(f"{text('Extension')}: {part}", seconds[part], None) for part in hooks),
    ]
    heads = (tag("th", text(head) if head else "", scope="col") for head in ("Part", "Seconds", "", "Share"))
    notes = (
        "The seconds of an extension are those that its own code took, its models not counted.",
        "Of the finished jobs that this service still knows: some hundred, until it is started again.",
    )
    whole = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    return joined(
        [
            tag(
                "div",
                *(tag("div", tag("strong", value), tag("span", name)) for name, value in figures),
                class_="easel-figures",
            ),
            tag("div", whole, class_="easel-table") if rows else "",
            tag("p", " ".join(text(note) for note in notes), class_="easel-quiet"),
        ]
    )


def _row(name: str, spent: float, share: float | None) -> Html:
    return tag(
        "tr",
        tag("td", name),
        tag("td", f"{spent:.2f}", class_="number"),
        tag("td", "" if share is None else tag("progress", value=f"{share:.3f}", max=1)),
        tag("td", "" if share is None else f"{share:.0%}", class_="number"),
    )
