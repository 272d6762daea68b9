"""HTML of ours on the page: lists and forms that gradio has no component for, and what they say to the service.

`live(html)` is a component with the events of `markup.js`: `live(…).act(listener, …)` calls `listener(event)` with
`event.act`, the other `data-` attributes of the button, and `event.values` of a form. `scripted(html)` is one whose
HTML stays, with a script of its own. Whatever is put into HTML goes through `tag` or `text`, which escape it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from easel.errors import EaselError

if TYPE_CHECKING:
    from easel.extensions.form import FormField

_LOADED = "easel.markup(element, trigger, watch);"
WRITES = "element.innerHTML = "
_EVENTS = ("act", "reload", "opened", "tick")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def live(html: str = "", *, elem_id: str, events: Sequence[str] = ()) -> Any:
    """A component that shows HTML and has the events `act`, `reload`, `opened`, `tick`, and `events` of its own."""
    script = _LOADED + _named([*_EVENTS, *events])
    return gr.HTML(html, js_on_load=script, apply_default_css=False, elem_id=elem_id, elem_classes="easel-html")


def scripted(html: Html, script: str, *, elem_id: str, value: Any = None, class_: str = "") -> Any:
    """A component that begins with HTML and is `script`'s from then on; any JSON is a value. It has the event `act`."""
    written = json.dumps(html, ensure_ascii=False)
    return gr.HTML(
        value,
        html_template="",  # gradio's would be made anew at every change
        js_on_load=f"{WRITES}{written};\n{script}{_named(['act'])}",
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes=f"easel-html {class_}".rstrip(),
    )


def _named(events: Sequence[str]) -> str:
    """Where gradio finds which events there are."""
    return f"  // {' '.join(map(repr, events))}"


def tag(name: str, /, *parts: object, **attributes: object) -> Html:
    """An element: parts that are no `Html` are escaped; an attribute that is False or None is left out.

    `class_` is `class`, `data_act` is `data-act`.
    """
    named = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    given = "".join(
        f" {key}" if value is True else f' {key}="{escape(str(value))}"'
        for key, value in named
        if value is not None and value is not False
    )
    inside = "" if name in ("input", "img", "br") else f"{joined(parts)}</{name}>"
    return Html(f"<{name}{given}>{inside}")


def joined(parts: Iterable[object]) -> Html:
    """Parts one after the other, escaped where they are no `Html`."""
    return Html("".join(part if isinstance(part, Html) else escape(str(part)) for part in parts))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], **attributes: object) -> Html:
    """A table with a line of heads."""
    head = tag("thead", tag("tr", *(tag("th", one, scope="col") for one in heads)))
    body = tag("tbody", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows))
    return tag("div", tag("table", head, body, **attributes), class_="easel-table")


def field(
    one: FormField, value: object, words: Callable[[str], str], *, fixed: bool = False, named: bool = False
) -> Html:
    """A line of a form: the label, what the field says of itself, the control. `named`: with its name for programs."""
    name = f"field-{one.name}"
    label = tag("label", words(one.label), for_=name)
    about = tag("small", words(one.help)) if one.help else ""
    code = tag("code", one.name) if named else ""
    return tag(
        "div", tag("div", label, code, about), _control(one, value, name, fixed), class_="easel-field", data_row=True
    )


def _control(one: FormField, value: object, name: str, fixed: bool) -> Html:
    common = {"name": one.name, "id": name, "disabled": fixed}
    match one.control:
        case "checkbox":
            return tag("input", type="checkbox", checked=bool(value), **common)
        case "integer" | "number":
            step = one.step or (1 if one.control == "integer" else "any")
            shown = "" if value is None else f"{value:g}" if isinstance(value, float) else value
            return tag("input", type="number", value=shown, min=one.minimum, max=one.maximum, step=step, **common)
        case "choice" | "choices":
            several = one.control == "choices"
            chosen = {str(each) for each in value} if isinstance(value, list | tuple) else {str(value)}
            known = one.choices or ()
            lost = () if several else tuple(each for each in chosen if each not in known and value is not None)
            options = (tag("option", each, value=each, selected=each in chosen) for each in (*known, *lost))
            return tag("select", *options, multiple=several, **common)
        case "json":
            return tag("textarea", json.dumps(value, ensure_ascii=False), rows=2, spellcheck="false", **common)
        case _:
            colour = isinstance(value, str) and len(value) == 7 and value.startswith("#")
            return tag("input", type="color" if colour else "text", value="" if value is None else value, **common)


def given(fields: Sequence[FormField], values: Mapping[str, Any]) -> dict[str, Any]:
    """What a form sent, as the fields' types. Errors: gr.Error for JSON that is none."""
    read: dict[str, Any] = {}
    for one in fields:
        if one.name not in values:
            continue
        value = values[one.name]
        if one.control == "json" and isinstance(value, str):
            try:
                value = json.loads(value or "null")
            except ValueError as error:
                raise failed(f"{one.label}: {error}") from None
        read[one.name] = value
    return read


def failed(error: EaselError | str) -> gr.Error:
    """What the page shows when something cannot be: an error of ours, or words for whoever is there."""
    return gr.Error(error.message if isinstance(error, EaselError) else error, print_exception=False)


def into_view(elem_id: str) -> str:
    """JavaScript for after an event: whoever clicked for `details` is taken there."""
    asked = "document.activeElement?.dataset.act === 'details'"
    return f"() => {{ if ({asked}) document.getElementById('{elem_id}').scrollIntoView({{behavior: 'smooth'}}); }}"
