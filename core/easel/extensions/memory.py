"""What is remembered of extensions over restarts, in one JSON file: who is on, their settings, who is in quarantine."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

log = logging.getLogger(__name__)
Section = Literal["switched", "settings", "quarantined"]


@dataclass(frozen=True, slots=True)
class Remembered:
    """The file's three sections, each by the extension's name."""

    switched: Mapping[str, bool] = field(default_factory=dict)  # by an operator, on or off
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quarantined: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # the evidence


@dataclass(frozen=True, slots=True)
class Memory:
    """The file. Written by the gateway, read by workers too; whoever changes it holds the registry's lock."""

    file: Path

    def read(self) -> Remembered:
        """What is remembered; a spoilt file is told in the log and counts as nothing."""
        try:
            sections = json.loads(self.file.read_text("utf-8"))
        except FileNotFoundError:
            return Remembered()
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read (%s): every extension as its manifest says", self.file.name, error)
            return Remembered()
        return Remembered(
            switched=_section(sections, "switched", bool),
            settings=_section(sections, "settings", dict),
            quarantined=_section(sections, "quarantined", dict),
        )

    def change(self, section: Section, name: str, value: Any) -> None:
        """Remember `value`, None: forget; on disk, whole or not at all, before this returns."""
        now = self.read()
        sections = {each: dict(getattr(now, each)) for each in ("switched", "settings", "quarantined")}
        if value is None:
            sections[section].pop(name, None)
        else:
            sections[section][name] = value
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump({key: kept for key, kept in sections.items() if kept}, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.file)


def _section(sections: object, name: Section, kind: type) -> dict[str, Any]:
    section = sections.get(name) if isinstance(sections, dict) else None
    return (
        {key: value for key, value in section.items() if isinstance(value, kind)} if isinstance(section, dict) else {}
    )
