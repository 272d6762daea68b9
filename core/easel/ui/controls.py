"""Forms as HTML: one component of gradio holds a whole form, and its value is what stands in its controls, by name.

A component for each control would make the page slow to load; gradio's share of a control is larger than the control.
What the controls do is `form.js`. `put` values into a form by returning those that change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from easel.ui.markup import Html, scripted, tag

if TYPE_CHECKING:
    from easel.extensions.form import FormField

_SCRIPT = "easel.form(element, props, trigger, watch, upload);"
_SHORT = 24  # characters of choices that are shown beside each other


def form_component(html: Html, elem_id: str) -> Any:
    """A component with the event `act`; its value is a mapping, empty until it was shown (then the defaults count)."""
    return scripted(tag("form", html), _SCRIPT, elem_id=elem_id, value={}, class_="easel-controls")


def row(*cells: Html, class_: str = "") -> Html:
    """Controls beside each other, as many as there is room for."""
    return tag("div", *cells, class_=f"easel-line {class_}".rstrip())


def control(one: FormField, value: Any, words: Callable[[str], str], *, prefix: str = "") -> Html:
    """A field with its label. `prefix` tells forms of one component apart: it is in front of the names."""
    name, label, said = prefix + one.name, words(_label(one)), words(one.help) if one.help and not one.labels else None
    match one.control:
        case "checkbox":
            return switch(name, label, bool(value), said)
        case "picture":
            return _picture(name, label, words, said)
        case "choices":
            chosen = {str(each) for each in value or ()}
            titles = ((words(one.labels.get(each, each)), each) for each in one.choices or ())
            boxes = (_box(name, title, each, each in chosen) for title, each in titles)
            return _group(label, said, boxes)
        case _ if one.choices is not None:
            options = [(words(one.labels.get(each, each)) or "—", each) for each in one.choices]
            return pick(name, label, options, "" if value is None else str(value), said)
        case "integer" | "number" if one.minimum is not None and one.maximum is not None and value is not None:
            step = one.step or (1 if one.control == "integer" else 0.01)
            return slider(name, label, one.minimum, one.maximum, value, step, said)
        case "integer" | "number":
            return number(name, label, value, step=one.step or (1 if one.control == "integer" else "any"), said=said)
        case "text":
            return _cell(label, tag("input", type="text", name=name, aria_label=label, value=value or ""), said)
        case "lines":
            return lines(name, label, value or "", said=said, rows=4)
        case _:
            shown = "" if value is None else json.dumps(value, ensure_ascii=False)
            return _cell(label, tag("input", type="text", name=name, aria_label=label, value=shown), said)


def pick(name: str, label: str, options: Sequence[tuple[str, str]], value: str, said: str | None = None) -> Html:
    """One of several (title, value): beside each other where they are short, else a list that opens."""
    if value not in [each for _, each in options]:
        options = [("—", value), *options]
    elif sum(len(title) for title, _ in options) <= _SHORT:
        return radio(name, label, options, value, said)
    listed = (tag("option", title, value=each, selected=each == value) for title, each in options)
    return _cell(label, tag("select", *listed, name=name, aria_label=label), said)


def radio(name: str, label: str, options: Sequence[tuple[str, str]], value: str, said: str | None = None) -> Html:
    """One of several (title, value), beside each other."""
    return _group(label, said, (_box(name, title, each, each == value, kind="radio") for title, each in options))


def switch(name: str, label: str, value: bool, said: str | None = None) -> Html:
    """On or off."""
    box = tag("input", type="checkbox", name=name, aria_label=label, checked=value)
    return tag("label", box, tag("span", label), _said(said), class_="easel-cell easel-on")


def slider(name: str, label: str, low: float, high: float, value: float, step: float, said: str | None = None) -> Html:
    """A number between two others. `step` is the slider's; the box beside it takes any."""
    bounds = {"min": f"{low:g}", "max": f"{high:g}", "value": f"{value:g}"}
    whole = float(step).is_integer()
    box = tag("input", type="number", name=name, aria_label=label, step="1" if whole else "any", **bounds)
    bar = tag("input", type="range", step=f"{step:g}", tabindex=-1, aria_hidden="true", **bounds)
    return _cell(label, tag("span", box, bar, class_="easel-slider"), said)


def number(name: str, label: str, value: float | None, *, step: float | str = 1, said: str | None = None) -> Html:
    """A number."""
    shown = "" if value is None else f"{value:g}"
    return _cell(label, tag("input", type="number", name=name, aria_label=label, value=shown, step=step), said)


def lines(name: str, label: str, value: str, *, rows: int, said: str | None = None, empty: str = "") -> Html:
    """A text of several lines. `empty`: what is shown in place of none."""
    return _cell(label, tag("textarea", value, name=name, aria_label=label, rows=rows, placeholder=empty), said)


def tool(symbol: str, title: str, **data: object) -> Html:
    """A small button; its `data_` attributes say what it does."""
    return tag("button", symbol, type="button", title=title, aria_label=title, class_="easel-small", **data)


def typed(default: Any, value: Any) -> Any:
    """What a control gave, as the type that its default has; the default for a number that was emptied."""
    if value is None:
        return default
    if isinstance(default, bool | int | float) and isinstance(value, str):
        return json.loads(value)  # one of several numbers
    return value


def _cell(label: str, *inside: object) -> Html:
    *parts, said = inside
    return tag("label", tag("span", label), *parts, _said(said), class_="easel-cell")


def _group(label: str, said: str | None, boxes: Any) -> Html:
    inside = tag("div", *boxes, class_="easel-boxes")
    return tag("fieldset", tag("legend", label), inside, _said(said), class_="easel-cell")


def _box(name: str, title: str, value: str, chosen: bool, kind: str = "checkbox") -> Html:
    several = kind == "checkbox"
    box = tag("input", type=kind, name=name, value=value, checked=chosen, data_several=several)
    return tag("label", box, tag("span", title))


def _said(said: object) -> Html:
    return tag("small", said) if said else Html()


def _picture(name: str, label: str, words: Callable[[str], str], said: str | None) -> Html:
    chosen = tag("input", type="file", accept="image/*", name=name, aria_label=label)
    hint, away = words("Drop or paste a picture, or click"), tool("✕", words("Remove"), data_clear=name)
    drop = tag("div", tag("span", hint), tag("img", alt=""), chosen, away, class_="easel-drop")
    return tag("div", tag("span", label), drop, _said(said), class_="easel-cell")


def _label(one: FormField) -> str:
    """The title, or the name as words where it has none of its own (pydantic makes one)."""
    words = one.name.replace("_", " ")
    return words.capitalize() if one.label in (one.name, words.title()) else one.label


def named(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the controls, those that were never shown with their defaults, by name."""
    return {name: typed(default, values.get(name)) for name, default in defaults.items()}
