"""Scripts on a generation tab: the selectable ones behind a picker, the always-on ones folded up below.

Their forms are derived from their arguments; nothing here knows any script by name.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from easel.errors import EaselError
from easel.ui.controls import form_component, pick
from easel.ui.forms import Form, make_form
from easel.ui.gallery import opened
from easel.ui.markup import Html, failed, joined, tag

if TYPE_CHECKING:
    from easel.extensions.script import OwnedScript, Script
    from easel.ui.page import Page
    from easel.ui.panel import Kind

NONE = "None"
_ENTRIES = 3  # of a variadic script, that the page offers


@dataclass(frozen=True, slots=True)
class _Part:
    """One form of a script, or of one entry of a variadic one."""

    owned: OwnedScript
    form: Form
    html: Html

    @property
    def script(self) -> Script:
        """Whose form it is."""
        return self.owned.script


@dataclass(frozen=True, slots=True)
class Scripts:
    """All scripts of a tab: one form."""

    component: Any
    parts: Sequence[_Part]

    def asked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the request that name scripts. Errors: BadRequest."""
        fields: dict[str, Any] = {}
        always: dict[str, Any] = {}
        for part in self.parts:
            title = part.script.title
            if part.script.variadic:
                if values.get(f"{part.form.prefix}enabled"):
                    entries = always.setdefault(title, {"args": []})["args"]
                    entries.append(part.form.read(values, where=f"{title}[{len(entries)}]"))
            elif part.script.always_on:
                arguments = part.form.read(values, where=title)
                if part.form.changed(arguments):
                    always[title] = {"args": arguments}
            elif title == values.get("script"):
                fields = {"script_name": title, "script_args": part.form.read(values, where=title)}
        return fields | ({"alwayson_scripts": always} if always else {})


def build_scripts(page: Page, kind: Kind) -> Scripts:
    """The forms of all scripts of this tab."""
    owned = [one for one in page.app.extensions.hooks.scripts.owned if kind in one.script.tabs]
    chosen = [one for one in owned if not one.script.always_on and one.script.entry.model_fields]
    parts: list[_Part] = []
    shown: list[Html] = []
    for one in (one for one in owned if one.script.always_on):
        made = _entries(page, one, kind) if one.script.variadic else [_part(page, one, kind, f"{one.script.title}.")]
        parts += made
        inside = _units(page, made) if one.script.variadic else made[0].html
        shown.append(tag("details", tag("summary", page.text(one.script.title)), inside, class_="easel-script"))
    titles = [NONE, *(one.script.title for one in chosen)]
    shown.append(pick("script", page.text("Script"), [(page.text(title), title) for title in titles], NONE))
    for one in chosen:
        parts.append(_part(page, one, kind, f"{one.script.title}."))
        shown.append(tag("div", parts[-1].html, class_="easel-inner", data_when=f"script={one.script.title}"))
    component = form_component(joined(shown), f"{kind}_scripts")
    _connect_previews(page, component, parts)
    return Scripts(component, parts)


def _entries(page: Page, one: OwnedScript, kind: Kind) -> list[_Part]:
    """Several equal forms of a variadic script, each with its switch."""
    return [_part(page, one, kind, f"{one.script.title}.{number}.", without=("enabled",)) for number in range(_ENTRIES)]


def _units(page: Page, parts: Sequence[_Part]) -> Html:
    """One after the other: a row of buttons shows one of them."""
    picks, sections = [], []
    for number, part in enumerate(parts):
        first = number == 0
        title = f"{page.text('Unit')} {number}"
        picks.append(
            tag("button", title, type="button", role="tab", data_pick=number, aria_selected=str(first).lower())
        )
        on = tag("input", type="checkbox", name=f"{part.form.prefix}enabled")
        switch = tag("label", on, tag("span", page.text("Enable")), class_="easel-cell easel-on")
        sections.append(tag("section", switch, part.html, data_section=number, hidden=not first))
    return tag("div", tag("div", *picks, role="tablist"), *sections, class_="easel-picked")


def _part(page: Page, one: OwnedScript, kind: Kind, prefix: str, without: Sequence[str] = ()) -> _Part:
    script, said = one.script, ""
    choices: Mapping[str, Sequence[str]] = {}
    if script.choices is not None:
        try:
            choices = script.choices(kind)
        except EaselError as error:
            said = tag("p", error.message, class_="easel-quiet")
    form = make_form(page, script.entry, prefix=prefix, choices=choices, without=without)
    preview = ""
    if script.preview:
        button = tag("button", page.text("Preview"), type="button", data_act="preview", data_part=prefix)
        picture = tag("img", alt=page.text("Preview"), data_shown=f"{prefix}preview", hidden=True)
        preview = tag("div", button, picture, class_="easel-look")
    return _Part(one, form, joined([said, form.html, preview]))


def _connect_previews(page: Page, component: Any, parts: Sequence[_Part]) -> None:
    async def preview(event: gr.EventData, request: gr.Request, values: dict[str, Any]) -> dict[str, str]:
        """The picture of the script's preview task. Errors: gr.Error."""
        part = next(one for one in parts if one.form.prefix == event._data["part"])
        owned = part.owned
        try:
            arguments = part.form.read(values, where=part.script.title)
            user = page.user(request).name
            result = await page.app.run_task(owned.extension, part.script.preview, arguments, user=user)
        except EaselError as error:
            raise failed(error) from None
        return {f"{part.form.prefix}preview": _data_url(result.images)}

    component.act(preview, component, component, show_progress="hidden")


def _data_url(images: Sequence[Any]) -> str:
    if not images:
        return ""
    written = io.BytesIO()
    opened(images[0]).save(written, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
