"""The list of extensions and one of them in detail, as HTML."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from easel.api.extensions import described
from easel.errors import EaselError
from easel.extensions.form import form
from easel.extensions.status import ExtensionStatus, State
from easel.ui.markup import Html, field, joined, tag
from easel.values.user import acting_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from easel.ui.page import Page

_COLOURS = {
    State.ENABLED: "good",
    State.UNAVAILABLE: "fair",
    State.FAILED: "bad",
    State.QUARANTINED: "bad",
}
_LONGEST_README = 200_000  # characters


def listing(page: Page, chosen: str = "") -> Html:
    """All extensions, as a form whose checkboxes say who shall be on. `chosen` is shown in detail."""
    text = page.text
    heads = ("", text("Extension"), text("Version"), text("State"), text("What it does"))
    head = tag("thead", tag("tr", *(tag("th", one, scope="col") for one in heads)))
    rows = [_row(page, one, chosen) for one in page.app.extensions.list()]
    bar = tag(
        "div",
        tag("button", text("Apply changes and reload UI"), type="submit", class_="primary"),
        tag("button", text("Look for new ones"), type="button", data_act="rescan"),
        tag("input", type="search", placeholder=text("Search"), aria_label=text("Search"), data_filter=True),
        class_="easel-bar-of-buttons",
    )
    whole = tag("div", tag("table", head, tag("tbody", *rows)), class_="easel-table")
    return tag("form", bar, whole, data_reload=True)


def _row(page: Page, one: ExtensionStatus, chosen: str) -> Html:
    shadowed = one.state is State.FOUND
    fixed = one.required or shadowed or one.name in page.app.extensions.disabled
    switch = tag(
        "input",
        type="checkbox",
        name="" if shadowed else one.name,
        checked=one.state not in (State.DISABLED, State.FOUND),
        disabled=fixed,
        aria_label=page.text(one.title),
    )
    title = tag(
        "button", page.text(one.title), type="button", data_act="details", data_name=one.name, class_="easel-link"
    )
    cells = (switch, title, one.version, joined(_state(page, one)), page.text(one.summary))
    return tag(
        "tr",
        *(tag("td", cell) for cell in cells),
        data_row=True,
        aria_selected="true" if one.name == chosen and not shadowed else None,
    )


def _state(page: Page, one: ExtensionStatus) -> Iterator[object]:
    yield tag("span", page.text(one.state.value), class_=f"easel-badge {_COLOURS.get(one.state, '')}")
    if one.required:
        yield tag("small", page.text("required by the settings"))
    if reason := described(page.app, one)["reason"]:
        yield tag("small", page.text(reason))


def details(page: Page, name: str) -> Html:
    """One extension: where it is from, what it says it will use, its failures, its settings. Errors: UnknownName."""
    text, status = page.text, page.app.extensions.status(name)
    facts = described(page.app, status)
    release = tag("button", text("Release from quarantine"), type="button", data_act="release", data_name=name)
    return tag(
        "section",
        tag("h3", text(status.title), " ", tag("small", status.version)),
        tag("p", text(status.summary)),
        release if status.state is State.QUARANTINED else "",
        tag("dl", *_facts(page, status, facts["origin"])),
        *((joined(_faults(page, name)), _settings(page, name)) if _operates(page) else ()),
        class_="easel-panel",
    )


def _operates(page: Page) -> bool:
    """Faults and settings are for who runs the service; of users, operators."""
    return page.app.accounts is None or acting_user().admin


def _facts(page: Page, one: ExtensionStatus, origin: str) -> Iterator[Html]:
    may = one.permissions
    anything = page.text("anything of a job") if may.changes is None else None
    told: tuple[tuple[str, Sequence[str]], ...] = (
        ("Where it is", (page.text(origin),)),
        ("Requires", one.requires),
        ("Scripts", one.scripts),
        ("Talks to", may.hosts),
        ("Files it uses", may.paths),
        ("May change", (anything,) if anything else may.changes or ()),
    )
    for title, values in told:
        if values:
            yield tag("dt", page.text(title))
            yield tag("dd", *(tag("code", value) for value in values))


def _faults(page: Page, name: str) -> Iterator[Html]:
    faults = page.app.extensions.faults(name)
    if faults:
        yield tag("h4", page.text("What failed lately"))
    for one in faults[:10]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.when))
        line = tag("summary", f"{when} · ", tag("code", one.hook), f" · {one.message}")
        yield tag("details", line, tag("pre", one.traceback))


def _settings(page: Page, name: str) -> Html:
    try:
        found = page.app.extensions.settings(name)
    except EaselError:
        return tag("p", page.text("Its settings are shown while it is on."), class_="easel-quiet")
    if found.model is None:
        return Html()
    fields = form(found.model)
    return tag(
        "form",
        tag("h4", page.text("Settings")),
        *(field(one, found.values.get(one.name), page.text, fixed=one.name in found.fixed) for one in fields),
        tag("button", page.text("Save settings"), type="submit", class_="primary"),
        data_act="configure",
        data_name=name,
    )


def readme(page: Page, name: str) -> str:
    """Its README. Errors: UnknownName."""
    file = page.app.extensions.status(name).folder / "README.md"
    try:
        with file.open(encoding="utf-8") as text:
            return text.read(_LONGEST_README)
    except (OSError, ValueError):
        return ""
