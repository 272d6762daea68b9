"""Forms from typed arguments: a pydantic model's fields as components, and the components' values as JSON again."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from easel.errors import BadRequest
from easel.extensions.form import FormField, form

if TYPE_CHECKING:
    from pydantic import BaseModel

_SHORT = 24  # characters of choices that are shown beside each other


@dataclass(frozen=True, slots=True)
class Form:
    """The fields that people are asked for, and their components in the same order."""

    fields: tuple[FormField, ...]
    components: tuple[Component, ...]

    def read(self, values: Sequence[Any], *, where: str = "") -> dict[str, Any]:
        """The arguments by name, as JSON. `where`: whose they are, for messages. Errors: BadRequest."""
        return {one.name: _read(one, value, where) for one, value in zip(self.fields, values, strict=True)}

    def changed(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `read`'s arguments that differ from their defaults."""
        defaults = {one.name: one.value for one in self.fields}
        return {name: value for name, value in arguments.items() if value != defaults[name]}


def build_form(
    model: type[BaseModel],
    text: Callable[[str], str],
    *,
    choices: Mapping[str, Sequence[str]] | None = None,
    values: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    only: Sequence[str] = (),
) -> Form:
    """The components, made where this is called.

    `choices`: what there is to choose from at the time, by field; `values`: others than the defaults; `without`: fields
    that are left out, as those are whose control is `hidden`; `only`: those that are asked for, in this order.
    """
    known = {name: tuple(offered) for name, offered in (choices or {}).items()}
    fields = form(model)
    if only:
        fields = tuple(one for name in only for one in fields if one.name == name)
    asked = tuple(
        replace(one, choices=known[one.name], control="choice") if one.name in known else one
        for one in fields
        if one.control != "hidden" and one.name not in without
    )
    made: dict[str, Component] = {}
    pictures = [one for one in asked if one.control == "picture"]
    for among, look in ((pictures, gr.Row()), ([one for one in asked if one not in pictures], _grid())):
        with look:
            made |= {one.name: _component(one, (values or {}).get(one.name, one.value), text) for one in among}
    return Form(asked, tuple(made[one.name] for one in asked))


def _grid() -> gr.Column:
    """Components beside each other, as many as there is room for."""
    return gr.Column(elem_classes="easel-form")


def _component(one: FormField, value: Any, text: Callable[[str], str]) -> Component:
    choices = one.choices
    label, said = text(_label(one)), text(one.help) if one.help else None
    named: dict[str, Any] = {"label": label, "info": said}
    bounded = one.minimum is not None and one.maximum is not None
    match one.control:
        case "checkbox":
            return gr.Checkbox(bool(value), **named)
        case "picture":
            return gr.Image(type="filepath", image_mode=None, sources=["upload", "clipboard"], label=label, height=240)
        case "choices":
            return gr.CheckboxGroup([(text(name), name) for name in choices or ()], value=value or [], **named)
        case _ if choices is not None:
            options, value = [(text(name) or "—", name) for name in choices], None if value is None else str(value)
            if sum(len(name) for name, _ in options) <= _SHORT and value in choices:
                return gr.Radio(options, value=value, **named)
            return gr.Dropdown(options, value=value if value in choices else None, **named)
        case "integer" | "number" if bounded and value is not None:
            step = one.step or (1 if one.control == "integer" else 0.01)
            return gr.Slider(one.minimum or 0, one.maximum or 0, value, step=step, buttons=[], **named)
        case "integer" | "number":
            return gr.Number(value, precision=0 if one.control == "integer" else None, **named)
        case "text":
            return gr.Textbox(value or "", **named)
        case "lines":
            return gr.Textbox(value or "", lines=4, max_lines=16, **named)
        case _:
            return gr.Textbox("" if value is None else json.dumps(value, ensure_ascii=False), **named)


def _label(one: FormField) -> str:
    """The title, or the name as words where it has none of its own (pydantic makes one)."""
    words = one.name.replace("_", " ")
    return words.capitalize() if one.label in (one.name, words.title()) else one.label


def _read(one: FormField, value: Any, where: str) -> Any:
    if one.control == "picture":
        return base64.b64encode(Path(value).read_bytes()).decode("ascii") if value else one.value
    if one.control == "json" and isinstance(value, str):
        try:
            return json.loads(value) if value.strip() else one.value
        except ValueError:
            field = f"{where}.{one.name}" if where else one.name
            raise BadRequest("this is no JSON", field=field, value=value[:80], allowed='like ["a", "b"]') from None
    if one.choices and isinstance(one.value, int | float) and isinstance(value, str):
        return json.loads(value)  # one of several numbers
    if one.value is None and value == "":
        return None
    return one.value if value is None else value
