"""Usage: where the seconds of my jobs (an operator sees all) went in the last thirty days, as the ledger has them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import gradio as gr

from easel.api.ledger import is_operator, summed
from easel.ui.markup import Html, joined, live, table, tag
from easel.values.ledger import ENGINE, PARTS, Wanted

if TYPE_CHECKING:
    from easel.ui.page import Page
    from easel.values.user import User

TITLE = "Usage"
_DAYS = 30
_LEAST = 0.005  # seconds that are shown
_BESIDES = tuple(part for part in PARTS if part not in ENGINE)


def build(page: Page) -> None:
    """The tab."""
    shown = live(elem_id="easel-usage")

    def refresh(request: gr.Request) -> Html:
        return usage(page, page.user(request))

    shown.opened(refresh, None, shown, show_progress="hidden")


def usage(page: Page, user: User) -> Html:
    """The figures of a user's jobs, as HTML."""
    text, operator = page.text, is_operator(user)
    wanted = Wanted(user=None if operator else user.name, since=time.time() - _DAYS * 86400)
    told = summed(page.app, wanted, "user" if operator else "project", workers=operator)
    total = told["total"]
    pictures, engine = total["pictures"], total["engine_seconds"]
    figures = (
        (text("Finished jobs"), str(total["jobs"])),
        (text("Pictures"), str(pictures)),
        (text("Seconds of computing"), f"{engine:.1f}"),
        (text("Seconds for one picture"), f"{engine / pictures:.2f}" if pictures else "–"),
        (text("Seconds charged"), f"{_charged(told):.1f}"),
    )
    notes = (
        "The seconds of an extension are those that its own code took, its models not counted.",
        "Of the last thirty days.",
    )
    link = tag("a", text("All jobs as a table (CSV)"), href="easel/v1/ledger.csv", download=True)
    return joined(
        [
            tag(
                "div",
                *(tag("div", tag("strong", value), tag("span", name)) for name, value in figures),
                class_="easel-figures",
            ),
            _parts(page, total["seconds"], engine),
            _groups(page, told),
            _workers(page, told),
            tag("p", " ".join(text(note) for note in notes), " ", link, class_="easel-quiet"),
        ]
    )


def _charged(told: dict[str, Any]) -> float:
    """By the generation: what jobs were generated for; else what workers were allocated, where that is told."""
    workers = told.get("workers", {}).get("charged_seconds", 0.0)
    return float(workers or told["total"]["charged_seconds"])


def _parts(page: Page, seconds: dict[str, float], engine: float) -> Html | str:
    """Engine's parts with their shares, then what went on beside it."""
    text = page.text
    hooks = sorted(part for part in seconds if part not in PARTS and seconds[part] >= _LEAST)
    rows = [
        *(_row(text(part), seconds[part], seconds[part] / engine) for part in ENGINE if seconds.get(part)),
        *(_row(text(part), seconds[part], None) for part in _BESIDES if seconds.get(part, 0.0) >= _LEAST),
        *(_row(f"{text('Extension')}: {part}", seconds[part], None) for part in hooks),
    ]
    heads = (tag("th", text(head) if head else "", scope="col") for head in ("Part", "Seconds", "", "Share"))
    whole = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    return tag("div", whole, class_="easel-table") if rows else ""


def _groups(page: Page, told: dict[str, Any]) -> Html | str:
    """By user, or by project; not when all is one."""
    if not any(one["name"] for one in told["groups"]):
        return ""
    heads = ("User" if told["by"] == "user" else "Project", "Finished jobs", "Pictures", "Seconds charged")
    rows = (
        (one["name"] or "–", one["jobs"], one["pictures"], f"{one['charged_seconds']:.2f}") for one in told["groups"]
    )
    return table([page.text(head) for head in heads], rows)


def _workers(page: Page, told: dict[str, Any]) -> Html | str:
    """What workers were allocated, and what became of it."""
    if not (workers := told.get("workers", {})).get("allocated"):
        return ""
    names = {
        "start": "Starting", "idle": "Idle", "jobs": "For jobs", "lost": "Lost", "running": "For running jobs",
        "allocated": "All seconds of workers",
    }  # fmt: skip
    shares = ((page.text(name), workers[key], workers[key] / workers["allocated"]) for key, name in names.items())
    rows = (_row(*one) for one in shares)
    heads = (tag("th", page.text(head) if head else "", scope="col") for head in ("Workers", "Seconds", "", "Share"))
    return tag("div", tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows)), class_="easel-table")


def _row(name: str, spent: float, share: float | None) -> Html:
    return tag(
        "tr",
        tag("td", name),
        tag("td", f"{spent:.2f}", class_="number"),
        tag("td", "" if share is None else tag("progress", value=f"{share:.3f}", max=1)),
        tag("td", "" if share is None else f"{share:.0%}", class_="number"),
    )
