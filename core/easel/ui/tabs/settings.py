"""Settings: A1111's options by section, with a search over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from easel.api.auth import refuse_user_unless_operator
from easel.api.configuration import change_options, current_options
from easel.errors import EaselError
from easel.ui.markup import Html, failed, field, given, live, tag
from easel.ui.option_fields import KEPT, changes, sections

if TYPE_CHECKING:
    from easel.extensions.form import FormField
    from easel.ui.page import Page

TITLE = "Settings"


def build(page: Page) -> None:
    """The tab."""
    shown = live(elem_id="easel-settings")

    def save(event: gr.EventData, request: gr.Request) -> Html:
        try:
            refuse_user_unless_operator(page.user(request))
            fields = [one for some in sections(page.app).values() for one in some]
            values = given(fields, event._data["values"])
            changed = changes(fields, values, current_options(page.app))
            change_options(page.app, changed)
        except EaselError as error:
            raise failed(error) from None
        gr.Info(f"{page.text('Saved.')} {', '.join(changed)}", duration=3)
        return settings_form(page)

    shown.act(save, None, shown, show_progress="hidden")
    shown.opened(lambda: settings_form(page), None, shown, show_progress="hidden")
    shown.reload(page.reload, None, None).success(None, None, None, js="() => location.reload()")


def settings_form(page: Page) -> Html:
    """The whole form, as things stand."""
    text, values, found = page.text, current_options(page.app), sections(page.app)
    bar = tag(
        "div",
        tag("button", text("Save settings"), type="submit", class_="primary"),
        tag("button", text("Reload UI"), type="button", data_reload=True),
        tag("input", type="search", placeholder=text("Search"), aria_label=text("Search"), data_filter=True),
        class_="easel-bar-of-buttons",
    )
    picks = (tag("button", text(title), type="button", data_pick=title) for title in found)
    parts = (_section(page, title, fields, values) for title, fields in found.items())
    chosen = tag("div", *parts, class_="easel-panel easel-sections")
    return tag(
        "form",
        bar,
        tag("div", tag("nav", *picks, aria_label=text("Settings")), chosen, class_="easel-sided"),
        data_act="save",
        novalidate=True,  # of a field that is not in view browsers say nothing; the service does
    )


def _section(page: Page, title: str, fields: tuple[FormField, ...], values: dict[str, object]) -> Html:
    said = "Nothing here changes a picture: these options are kept for programs that set them."
    about = tag("p", page.text(said), class_="easel-quiet") if title == KEPT else ""
    rows = (field(one, values[one.name], page.text, named=title != KEPT) for one in fields)
    return tag("section", tag("h3", page.text(title)), about, *rows, data_section=title)
