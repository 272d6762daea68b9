"""What became of an extension, as operators see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from easel.extensions.manifest import Permissions


class State(StrEnum):
    """What became of an extension."""

    FOUND = "found"  # seen, but another folder of its name counts
    ENABLED = "enabled"
    DISABLED = "disabled"  # switched off
    UNAVAILABLE = "unavailable"  # something it requires is missing
    FAILED = "failed"  # bad manifest, import error, wrong hooks, start-up error
    QUARANTINED = "quarantined"  # kept failing while it served, until an operator releases it


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionStatus:
    """One extension for lists: what it is, its state and the reason for it."""

    name: str
    title: str
    version: str
    summary: str
    folder: Path
    own: bool  # comes with Easel
    state: State
    reason: str = ""
    required: bool = False  # by the settings: without it no job runs
    requires: tuple[str, ...] = ()
    permissions: Permissions = field(default_factory=Permissions)
    scripts: tuple[str, ...] = ()  # titles, while it is on
