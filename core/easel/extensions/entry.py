"""What a registry knows of one extension, from its folder to its instance; changed by the thread that switches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from easel.errors import EaselError
from easel.extensions.extension import Extension
from easel.extensions.finder import Found, find_extensions
from easel.extensions.hooks import Owned
from easel.extensions.loader import forget_modules
from easel.extensions.manifest import Permissions
from easel.extensions.requirements import Unavailable
from easel.extensions.status import ExtensionStatus, State

log = logging.getLogger(__name__)


def entries_of(roots: Iterable[Path], before: Mapping[str, Entry]) -> tuple[dict[str, Entry], tuple[Entry, ...]]:
    """What the folders hold now, by name, and those that another of their name shadows.

    Who is as it was `before` stays; an extension whose manifest changed begins anew.
    """
    entries: dict[str, Entry] = {}
    shadowed = []
    for found in find_extensions(roots):
        if found.shadowed_by is not None:
            reason = f"{found.shadowed_by} has the same name and comes first"
            shadowed.append(Entry(found, State.FOUND, reason))
            continue
        known = before.get(found.name)
        if known is not None and known.found == found:
            entries[found.name] = known
            continue
        entries[found.name] = Entry(found)
        if found.manifest is None:
            entries[found.name].state, entries[found.name].reason = State.FAILED, found.reason
        elif known is not None:
            forget_modules(found.manifest)
    return entries, tuple(shadowed)


@dataclass(slots=True, eq=False)
class Entry:
    """One extension. `instance` is there while it is on; `stamp` is the instance's number in the gateway."""

    found: Found
    state: State = State.DISABLED
    reason: str = ""
    instance: Extension | None = None
    stamp: int = 0
    routers: tuple[Owned, ...] = ()
    tabs: tuple[Owned, ...] = ()

    def status(self, *, required: bool = False, scripts: tuple[str, ...] = ()) -> ExtensionStatus:
        """For lists."""
        manifest = self.found.manifest
        return ExtensionStatus(
            name=self.found.name,
            title=manifest.title if manifest else self.found.name,
            version=manifest.version if manifest else "",
            summary=manifest.summary if manifest else "",
            folder=self.found.folder,
            own=self.found.own,
            state=self.state,
            reason=self.reason,
            required=required,
            requires=manifest.requires if manifest else (),
            permissions=manifest.permissions if manifest else Permissions(),
            scripts=scripts,
        )

    def switch_on(self, instance: Extension, stamp: int) -> None:
        """It is loaded."""
        self.state, self.reason, self.instance, self.stamp = State.ENABLED, "", instance, stamp

    def switch_off(self, state: State, reason: str) -> None:
        """Nobody wants it, or it must not run; a folder that cannot be read keeps its reason."""
        self.instance, self.routers, self.tabs = None, (), ()
        if self.found.manifest is not None:
            self.state, self.reason = state, reason

    def set_aside(self, error: EaselError) -> None:
        """It failed: say why and drop it."""
        self.switch_off(State.UNAVAILABLE if isinstance(error, Unavailable) else State.FAILED, error.message)
        if self.found.manifest is not None:
            forget_modules(self.found.manifest)
        log.warning("extension %s is %s: %s", self.found.name, self.state, self.reason, exc_info=error.__cause__)
