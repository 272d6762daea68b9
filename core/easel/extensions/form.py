"""The arguments of a script as a form: what `/script-info` lists and the page draws, from the one pydantic model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydantic import BaseModel

Control = Literal["checkbox", "integer", "number", "text", "lines", "picture", "choice", "choices", "json", "hidden"]
_CONTROLS: Mapping[str, Control] = {
    "boolean": "checkbox",
    "integer": "integer",
    "number": "number",
    "string": "text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One argument. `control` says how to ask for it; `value` is its default, None for one that must be given.

    It follows from the type; `json_schema_extra={"control": …}` says it where that is not enough: a text that is a
    `picture` (base64) or has many `lines`, an argument that people are not asked for (`hidden`).
    `json_schema_extra={"labels": {"0": "by a factor"}}` says what choices are called on the page.
    """

    name: str
    label: str  # `Field(title=…)`
    control: Control
    value: Any
    required: bool
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None  # `Field(multiple_of=…)`, or `json_schema_extra={"step": …}`
    choices: tuple[str, ...] | None = None  # of `Literal`, an enum, or `json_schema_extra={"choices": […]}`
    labels: Mapping[str, str] = field(default_factory=dict)  # of choices that do not speak for themselves
    help: str = ""  # `Field(description=…)`


def form(model: type[BaseModel]) -> tuple[FormField, ...]:
    """The fields of a model, in the order of positional arguments."""
    schema = model.model_json_schema()
    parts = schema.get("$defs", {})
    return tuple(_field(model, name, facts, parts) for name, facts in schema.get("properties", {}).items())


def _field(model: type[BaseModel], name: str, facts: Mapping[str, Any], parts: Mapping[str, Any]) -> FormField:
    kind = _resolved(facts, parts)
    entries = _resolved(kind.get("items", {}), parts)
    several = kind.get("type") == "array"
    choices = kind.get("choices") or (entries if several else kind).get("enum")
    if "const" in kind:
        choices = [kind["const"]]
    return FormField(
        name=name,
        label=facts.get("title", name),
        control=_control(kind, choices, several=several),
        value=_default(model, name),
        required=model.model_fields[name].is_required(),
        minimum=kind.get("minimum", kind.get("exclusiveMinimum")),
        maximum=kind.get("maximum", kind.get("exclusiveMaximum")),
        step=kind.get("step", kind.get("multipleOf")),
        choices=tuple(str(one) for one in choices if one is not None) if choices else None,
        labels=kind.get("labels", {}),
        help=facts.get("description", ""),
    )


def _control(kind: Mapping[str, Any], choices: Any, *, several: bool) -> Control:
    if "control" in kind:
        said: Control = kind["control"]
        return said
    if choices:
        return "choices" if several else "choice"
    return _CONTROLS.get(kind.get("type", ""), "json")


def _resolved(facts: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """What a schema says, references followed and null left out; the field's own words win."""
    resolved = dict(facts)
    for several in ("anyOf", "oneOf", "allOf"):
        real = [one for one in resolved.pop(several, ()) if one.get("type") != "null"]
        if real and {one.get("type") for one in real} <= {"integer", "number"}:
            real = [next((one for one in real if one["type"] == "number"), real[0])]
        if len(real) == 1:
            resolved = {**_resolved(real[0], parts), **resolved}
    if "$ref" in resolved:
        named = parts.get(resolved.pop("$ref").rpartition("/")[2], {})
        resolved = {**_resolved(named, parts), **resolved}
    return resolved


def _default(model: type[BaseModel], name: str) -> Any:
    """The default as JSON."""
    from pydantic_core import to_jsonable_python

    known = model.model_fields[name]
    return None if known.is_required() else to_jsonable_python(known.get_default(call_default_factory=True))
