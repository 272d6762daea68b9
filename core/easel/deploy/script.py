"""The line of `containers[0].script`: `./webui.sh FLAG …`, flag by flag."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from easel.errors import SettingsError
from easel.settings import Settings, parse_flags

BASE = Path("/code/stable-diffusion-webui")  # where PAI-EAS' image has webui.sh: what relative paths begin at
_PATHS = {"--" + one.name.replace("_", "-") for one in fields(Settings) if "Path" in str(one.type)}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag and the words after it."""

    name: str
    values: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """As on a command line."""
        return [self.name, *self.values] if len(self.values) != 1 else [f"{self.name}={self.values[0]}"]


def read_script(line: str) -> tuple[Flag, ...]:
    """The flags of a line that starts `webui.sh`. Errors: SettingsError, when it is another kind of line."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise SettingsError(f"cannot be read: {error}") from error
    if words and words[0] in ("bash", "sh"):
        words = words[1:]
    if not words or Path(words[0]).name != "webui.sh":
        raise SettingsError("must be one line that begins with ./webui.sh")
    if joined := next((word for word in words if word.strip(";&|") != word or "$" in word), None):
        raise SettingsError(f"must be one plain command; {joined!r} is for a shell")
    flags: list[Flag] = []
    for word in words[1:]:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            flags.append(Flag(name.replace("_", "-"), (value,) if equals else ()))
        elif not flags:
            raise SettingsError(f"unexpected {word!r}: flags begin with --")
        else:
            flags[-1] = replace(flags[-1], values=(*flags[-1].values, word))
    return tuple(flags)


def wrong_flags(flags: Iterable[Flag]) -> list[tuple[Flag, str]]:
    """The flags that are unknown or have a wrong value, each with what is wrong."""
    found = []
    for flag in flags:
        try:
            parse_flags(flag.words)
        except SettingsError as error:
            found.append((flag, error.message))
    return found


def words(flags: Iterable[Flag]) -> list[str]:
    """All flags as a command line has them."""
    return [word for flag in flags for word in flag.words]


def with_paths(flags: Sequence[Flag], change: Callable[[Path], Path]) -> tuple[Flag, ...]:
    """The flags with every path changed."""
    return tuple(
        replace(flag, values=tuple(str(change(Path(value))) for value in flag.values)) if flag.name in _PATHS else flag
        for flag in flags
    )
