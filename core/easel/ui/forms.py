"""Forms that are made from a pydantic model: what a script, a unit or a task asks people for."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easel.errors import BadRequest
from easel.extensions.form import FormField, form
from easel.ui.controls import control, row, typed
from easel.ui.markup import Html, joined

if TYPE_CHECKING:
    from pydantic import BaseModel

    from easel.ui.page import Page


@dataclass(frozen=True, slots=True)
class Form:
    """The fields that people are asked for, and their controls. `prefix` stands in front of their names."""

    fields: tuple[FormField, ...]
    html: Html
    prefix: str
    uploads: Path

    def read(self, values: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
        """The arguments by name, as JSON. `where`: whose they are, for messages. Errors: BadRequest."""
        return {one.name: self._read(one, values.get(self.prefix + one.name), where) for one in self.fields}

    def changed(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `read`'s arguments that differ from their defaults."""
        defaults = {one.name: one.value for one in self.fields}
        return {name: value for name, value in arguments.items() if value != defaults[name]}

    def _read(self, one: FormField, value: Any, where: str) -> Any:
        if one.control == "picture":
            return _encoded(self.uploads, value) if value else one.value
        if one.control == "json" and isinstance(value, str):
            try:
                return json.loads(value) if value.strip() else one.value
            except ValueError:
                field = f"{where}.{one.name}" if where else one.name
                raise BadRequest("this is no JSON", field=field, value=value[:80], allowed='like ["a", "b"]') from None
        if one.value is None and value == "":
            return None
        return typed(one.value, value)


def make_form(
    page: Page,
    model: type[BaseModel],
    *,
    prefix: str = "",
    choices: Mapping[str, Sequence[str]] | None = None,
    values: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    only: Sequence[str] = (),
) -> Form:
    """The form of a model.

    `choices`: what there is to choose from at the time, by field; `values`: others than the defaults; `without`: fields
    that are left out, as those are whose control is `hidden`; `only`: those that are asked for, in this order.
    """
    known = {name: tuple(offered) for name, offered in (choices or {}).items()}
    fields = form(model)
    if only:
        fields = tuple(one for name in only for one in fields if one.name == name)
    asked = tuple(
        replace(
            one,
            value=(values or {}).get(one.name, one.value),
            choices=known.get(one.name, one.choices),
            control="choice" if one.name in known else one.control,
        )
        for one in fields
        if one.control != "hidden" and one.name not in without
    )
    pictures = [one for one in asked if one.control == "picture"]
    rows = (
        row(*(control(one, one.value, page.text, prefix=prefix) for one in some), class_="easel-grid")
        for some in (pictures, [one for one in asked if one not in pictures])
        if some
    )
    return Form(asked, joined(rows), prefix, page.uploads)


def _encoded(uploads: Path, value: Mapping[str, Any]) -> str:
    """An uploaded picture as base64. Errors: BadRequest for a path that is no upload."""
    path = Path(str(value.get("path", ""))).resolve()
    if not path.is_relative_to(uploads.resolve()) or not path.is_file():
        raise BadRequest("the picture is not there any more: choose it again")
    return base64.b64encode(path.read_bytes()).decode("ascii")
