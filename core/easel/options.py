"""The options of `/sdapi/v1/options`: A1111's 312 names and its ControlNet extension's 18, their rules, the values in
force, kept in one JSON file.

What is allowed stands in `options.json` beside this file: the default (which also gives the type), `choices`, `range`,
`pattern`, and `fixed` for what only the operator may change: paths (from the data folder on), file-name patterns,
network access.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from easel.errors import BadRequest, EaselError, Forbidden, SettingsError, UnknownName
from easel.files import ScopedFiles
from easel.values.options import Options

log = logging.getLogger("easel.options")
_MAX_FILE = 4 << 20  # bytes
_FILE = "options.json"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an option may be; the type is that of `default` (None: a text or null)."""

    default: Any
    choices: tuple[Any, ...] = ()
    range: tuple[float, float] | None = None
    pattern: str = ""
    fixed: bool = False

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        if self.choices:
            return ", ".join(repr(choice) for choice in self.choices)
        if self.range:
            return f"{self.range[0]:g} to {self.range[1]:g}"
        if self.pattern:
            return f"like {self.default!r}"
        kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
        return kinds.get(type(self.default), "a text")

    def read(self, value: object) -> Any:
        """`value` as this option's type; None where it cannot be."""
        match self.default:
            case bool():
                words = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
                return words.get(str(value).lower()) if isinstance(value, bool | int | float | str) else None
            case int() | float():
                return _number(value)
            case list():
                return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None
            case _:
                return value if isinstance(value, str) else None

    def allows(self, value: object) -> bool:
        """Whether a value of the right type is also within bounds."""
        if self.choices and value not in self.choices:
            return False
        if self.range and not self.range[0] <= value <= self.range[1]:  # type: ignore[operator]
            return False
        return not self.pattern or re.fullmatch(self.pattern, str(value)) is not None


class OptionsStore:
    """The options in force. Thread-safe; every change is on disk before `update` returns.

    One user's options stand on those of the service (`base`): what they did not change is as it is there.
    """

    def __init__(self, state_dir: Path, base: OptionsStore | None = None) -> None:
        """The file is `options.json` in `state_dir`, which is made. Errors: SettingsError when one cannot be had."""
        self._base = base
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"the state folder {state_dir} cannot be made: {error.strerror}") from error
        self._files = ScopedFiles(state_dir)
        self._lock = threading.Lock()
        self._changed: dict[str, Any] = self._load()

    def values(self) -> dict[str, Any]:
        """All options, in A1111's order."""
        with self._lock:
            changed = self._changed
        base = self._base.values() if self._base else {name: rule.default for name, rule in rules().items()}
        return {name: changed.get(name, base[name]) for name in rules()}

    def get(self, name: str) -> Any:
        """The value in force of one option."""
        with self._lock:
            return self._changed[name] if name in self._changed else self._unchanged(name)

    def update(self, changes: Mapping[str, object], *, frozen: bool | frozenset[str] = False) -> None:
        """Check all changes, then set and save them all. Values that stay as they are are always taken.

        Errors: UnknownName, BadRequest (wrong type or value), Forbidden (fixed, or `frozen` by the operator).
        """
        checked: dict[str, Any] = {}
        for name, value in changes.items():
            if name in rules() and value == self.get(name):
                continue
            checked[name] = self.check(name, value)
            if frozen is True or (frozen and name in frozen) or rules()[name].fixed:
                raise Forbidden(f"{name}: this option can only be changed by the operator of this server")
        with self._lock:
            changed = {n: v for n, v in (self._changed | checked).items() if v != self._unchanged(n)}
            self._files.write(_FILE, json.dumps(changed, indent=1, ensure_ascii=False).encode())
            self._changed = changed

    def check(self, name: str, value: object, *, field: str = "") -> Any:
        """`value` as the option's own type; null is its default. Errors: UnknownName, BadRequest."""
        field = field or name
        rule = rules().get(name)
        if rule is None:
            raise UnknownName.among(field, name, rules())
        if value is None:
            return self._unchanged(name)
        read = rule.read(value)
        if read is None:
            raise BadRequest("wrong type", field=field, value=value, allowed=rule.wanted)
        if not rule.allows(read):
            raise BadRequest("not allowed", field=field, value=value, allowed=rule.wanted)
        return read

    def resolve(self, overrides: Mapping[str, Any]) -> Options:
        """What one request sees: the options in force with its own checked `overrides` on top."""
        values = self.values() | dict(overrides)
        found: dict[str, Any] = {}
        for option in fields(Options):
            value = values.get(option.name, option.default)
            found[option.name] = int(value) if option.type == "int" and value is not None else value
        return Options(**found)

    def _unchanged(self, name: str) -> Any:
        return self._base.get(name) if self._base else rules()[name].default

    def _load(self) -> dict[str, Any]:
        if not self._files.exists(_FILE):
            return {}
        try:
            saved = json.loads(self._files.read(_FILE, _MAX_FILE))
            if not isinstance(saved, dict):
                raise ValueError("it holds no object")
        except (EaselError, ValueError) as error:
            raise SettingsError(f"the options in {self._files.root / _FILE} cannot be read: {error}") from error
        known = {}
        for name, value in saved.items():
            try:
                known[name] = self.check(name, value)
            except BadRequest as error:
                log.warning("in the options file, left out: %s", error.message)
        return known


@cache
def rules() -> Mapping[str, Rule]:
    """The rule of every option, in A1111's order."""
    text = resources.files("easel").joinpath("options.json").read_text("utf-8")
    return {name: _rule(facts) for name, facts in json.loads(text).items()}


def _rule(facts: dict[str, Any]) -> Rule:
    bounds = facts.get("range")
    return Rule(**{**facts, "choices": tuple(facts.get("choices", ())), "range": tuple(bounds) if bounds else None})


def _number(value: object) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return value if isinstance(value, int) else number
