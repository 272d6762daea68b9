"""A1111's options as fields of a form, by section; those that change nothing here stand in a section of their own."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from easel.extensions.form import Control, FormField
from easel.options import Rule, rules
from easel.ui.localization import languages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from easel.app import Easel

KEPT = "Kept for other programs"
_CHOSEN_ELSEWHERE = ("sd_model_checkpoint", "sd_vae", "disabled_extensions")  # on top of the page, in Extensions
_CONTROLS: Mapping[type, Control] = {bool: "checkbox", int: "number", float: "number", list: "json"}


@cache
def _labels() -> Mapping[str, Mapping[str, str]]:
    text = resources.files(__package__).joinpath("settings_sections.json").read_text("utf-8")
    labels: Mapping[str, Mapping[str, str]] = json.loads(text)
    return labels


def sections(app: Easel) -> dict[str, tuple[FormField, ...]]:
    """The fields of every section, in A1111's words; without those that only the operator's flags can change."""
    offered = {
        "localization": languages(app),
        "upscaler_for_img2img": ("", *(one.name for one in app.upscalers)),
        "face_restoration_model": tuple(one.name for one in app.face_restorers),
    }
    found = {
        section: tuple(_field(name, label, offered.get(name)) for name, label in labels.items())
        for section, labels in _labels().items()
    }
    shown = {one.name for fields in found.values() for one in fields} | {*_CHOSEN_ELSEWHERE}
    rest = [name for name, rule in rules().items() if name not in shown and not rule.fixed]
    return {**found, KEPT: tuple(_field(name, name, None) for name in rest)}


def _field(name: str, label: str, offered: Sequence[str] | None) -> FormField:
    rule = rules()[name]
    low, high = rule.range or (None, None)
    return FormField(
        name=name,
        label=label,
        control=_control(rule, offered),
        value=rule.default,
        required=False,
        minimum=low,
        maximum=high,
        choices=tuple(offered or rule.choices) or None,
    )


def _control(rule: Rule, offered: Sequence[str] | None) -> Control:
    if offered or rule.choices:
        return "choice"
    return _CONTROLS.get(type(rule.default), "text")


def changes(fields: Sequence[FormField], values: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a form sent, the options that differ from what they are."""
    wanted = {}
    for one in fields:
        if one.name in values:
            value = values[one.name]
            wanted[one.name] = None if value == "" and current[one.name] is None else value
    return {name: value for name, value in wanted.items() if value != current[name]}
