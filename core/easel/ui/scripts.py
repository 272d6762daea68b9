"""Scripts on a generation tab: the selectable ones behind a picker, the always-on ones folded up below.

Their forms are derived from their arguments; nothing here knows any script by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from easel.errors import EaselError
from easel.ui.forms import Form, build_form
from easel.ui.gallery import opened

if TYPE_CHECKING:
    from easel.extensions.script import OwnedScript, Script
    from easel.ui.page import Page
    from easel.ui.panel import Kind

NONE = "None"
_ENTRIES = 3  # of a variadic script, that the page offers
_QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False}


@dataclass(frozen=True, slots=True)
class _Part:
    """One form of a script; `switch` is what switches an entry of a variadic script on."""

    script: Script
    form: Form
    switch: Component | None = None


@dataclass(frozen=True, slots=True)
class Scripts:
    """The components of all scripts: the picker first, then part by part."""

    picker: gr.Dropdown
    parts: list[_Part] = field(default_factory=list)

    @property
    def components(self) -> list[Component]:
        """All of them, in the order that `asked` takes their values."""
        found: list[Component] = [self.picker]
        for part in self.parts:
            found += [*([part.switch] if part.switch else []), *part.form.components]
        return found

    def asked(self, values: Sequence[Any]) -> dict[str, Any]:
        """The fields of the request that name scripts. Errors: BadRequest."""
        chosen, *rest = values
        fields: dict[str, Any] = {}
        always: dict[str, Any] = {}
        for part in self.parts:
            on = rest.pop(0) if part.switch else True
            given, rest = rest[: len(part.form.components)], rest[len(part.form.components) :]
            title = part.script.title
            if part.script.variadic:
                if on:
                    entries = always.setdefault(title, {"args": []})["args"]
                    entries.append(part.form.read(given, where=f"{title}[{len(entries)}]"))
            elif part.script.always_on:
                arguments = part.form.read(given, where=title)
                if part.form.changed(arguments):
                    always[title] = {"args": arguments}
            elif title == chosen:
                fields = {"script_name": title, "script_args": part.form.read(given, where=title)}
        return fields | ({"alwayson_scripts": always} if always else {})


def build_scripts(page: Page, kind: Kind) -> Scripts:
    """The forms of all scripts of this tab."""
    owned = [one for one in page.app.extensions.hooks.scripts.owned if kind in one.script.tabs]
    always = [one for one in owned if one.script.always_on]
    chosen = [one for one in owned if not one.script.always_on and one.script.entry.model_fields]
    parts: list[_Part] = []
    for one in always:
        with gr.Accordion(page.text(one.script.title), open=False, elem_classes="easel-script"):
            parts += _entries(page, one, kind) if one.script.variadic else [_part(page, one, kind)]
    titles = [NONE, *(one.script.title for one in chosen)]
    picker = gr.Dropdown(
        [(page.text(title), title) for title in titles], value=NONE, label=page.text("Script"), elem_id=f"{kind}_script"
    )
    groups = []
    for one in chosen:
        with gr.Group(visible=False) as group, gr.Column(elem_classes="easel-inner"):
            parts.append(_part(page, one, kind))
        groups.append(group)
    if groups:
        shows = ", ".join(f"{{__type__: 'update', visible: title === {title!r}}}" for title in titles[1:])
        picker.change(None, picker, groups, js=f"(title) => [{shows}]", **_QUIET)
    return Scripts(picker, parts)


def _part(page: Page, one: OwnedScript, kind: Kind) -> _Part:
    return _Part(one.script, _form(page, one, kind))


def _entries(page: Page, one: OwnedScript, kind: Kind) -> list[_Part]:
    """Several equal forms of a variadic script, one tab each, each with its switch."""
    found = []
    with gr.Tabs(elem_classes="easel-units"):
        for number in range(_ENTRIES):
            with gr.Tab(f"{page.text('Unit')} {number}", render_children=False):
                switch = gr.Checkbox(False, label=page.text("Enable"))
                found.append(_Part(one.script, _form(page, one, kind, without=("enabled",)), switch))
    return found


def _form(page: Page, one: OwnedScript, kind: Kind, without: Sequence[str] = ()) -> Form:
    script = one.script
    choices: Mapping[str, Sequence[str]] = {}
    if script.choices is not None:
        try:
            choices = script.choices(kind)
        except EaselError as error:
            gr.Markdown(error.message)
    form = build_form(script.entry, page.text, choices=choices, without=without)
    if script.preview:
        with gr.Row(elem_classes="easel-row"):
            button = gr.Button(f"{page.text('Preview')}", size="sm", scale=0, min_width=120)
            shown = gr.Image(show_label=False, interactive=False, height=240, format="png", buttons=[])
        button.click(_previewing(page, one, form), list(form.components), shown, api_visibility="private")
    return form


def _previewing(page: Page, one: OwnedScript, form: Form) -> Callable[..., Any]:
    async def preview(request: gr.Request, *values: Any) -> Any:
        """The pictures of the script's preview task. Errors: gr.Error."""
        try:
            arguments = form.read(values, where=one.script.title)
            result = await page.app.run_task(one.extension, one.script.preview, arguments, user=page.user(request).name)
        except EaselError as error:
            raise gr.Error(error.message) from error
        return opened(result.images[0]) if result.images else None

    return preview
