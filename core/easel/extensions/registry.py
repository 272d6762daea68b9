"""Which extensions there are, what became of each, and the set of hooks in force.

Switching builds a new immutable `Hooks` and swaps one reference. Who runs a job takes the set with `hold()`: the job
keeps it to its end, and an extension that was switched off meanwhile is shut down only after that.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from easel.errors import EaselError, ExtensionError, Forbidden, NotAvailable, UnknownName
from easel.extensions.extension import Extension
from easel.extensions.finder import Found, find_extensions
from easel.extensions.hooks import Hooks, Owned
from easel.extensions.loader import Unavailable, check_requirements, forget_modules, load_extension

log = logging.getLogger(__name__)


class State(StrEnum):
    """What became of an extension."""

    FOUND = "found"  # seen, but another folder of its name counts
    ENABLED = "enabled"
    DISABLED = "disabled"  # switched off
    UNAVAILABLE = "unavailable"  # something it requires is missing
    FAILED = "failed"  # bad manifest, import error, wrong hooks, start-up error


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionStatus:
    """One extension for lists: what it is, its state and the reason for it."""

    name: str
    title: str
    version: str
    summary: str
    folder: Path
    state: State
    reason: str = ""


@dataclass(slots=True, eq=False)
class _Entry:
    """What the registry knows of one extension; changed by the thread that switches."""

    found: Found
    state: State
    reason: str = ""
    instance: Extension | None = None

    @property
    def status(self) -> ExtensionStatus:
        manifest = self.found.manifest
        return ExtensionStatus(
            name=self.found.name,
            title=manifest.title if manifest else self.found.name,
            version=manifest.version if manifest else "",
            summary=manifest.summary if manifest else "",
            folder=self.found.folder,
            state=self.state,
            reason=self.reason,
        )

    def set_aside(self, error: EaselError) -> None:
        """It failed: say why and drop it."""
        self.state = State.UNAVAILABLE if isinstance(error, Unavailable) else State.FAILED
        self.reason = error.message
        self.instance = None
        if self.found.manifest is not None:
            forget_modules(self.found.manifest)
        log.warning("extension %s is %s: %s", self.found.name, self.state, self.reason, exc_info=error.__cause__)


@dataclass(slots=True, eq=False)
class _Set:
    """A set of hooks, the instances in it, and how many hold it."""

    hooks: Hooks
    extensions: tuple[Extension, ...] = ()
    holders: int = 0


@dataclass(eq=False)
class Registry:
    """The extensions of one process.

    `roots`: folders to look in (`finder.standard_roots`, `finder.installed_roots`). `disabled`: names the operator's
    settings switch off for good, `required`: those that they insist on, without which no job runs. What is switched at
    run time is remembered in `<state_dir>/extensions.json`, and each extension may keep files below
    `<state_dir>/extensions/<name>`.
    """

    roots: Sequence[Path]
    state_dir: Path
    disabled: Collection[str] = ()
    required: Collection[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with a set without any plugin."""
        self._switching = threading.Lock()  # held while extensions are loaded and started, which may take its time
        self._lock = threading.Lock()  # for the sets and who was started; never held while an extension's code runs
        self._core: tuple[object, ...] = ()
        self._app: Any = None
        self._entries: dict[str, _Entry] = {}
        self._shadowed: list[_Entry] = []
        self._current = _Set(Hooks.build())
        self._sets = [self._current]  # this one and those that are still held
        self._started: list[Extension] = []  # those whose `startup` ran and whose `shutdown` did not

    @property
    def hooks(self) -> Hooks:
        """The set in force now."""
        return self._current.hooks

    @contextmanager
    def hold(self) -> Iterator[Hooks]:
        """The set in force now, kept alive while a job runs with it. Errors: NotAvailable without a required one."""
        with self._lock:
            held = self._current
            missing = [name for name in self.required if name not in held.hooks.extensions]
            if missing:
                raise NotAvailable(f"the settings require the extension {missing[0]}, {self._whereabouts(missing[0])}")
            held.holders += 1
        try:
            yield held.hooks
        finally:
            with self._lock:
                held.holders -= 1
            self._shut_down_unused()

    def list(self) -> tuple[ExtensionStatus, ...]:
        """All extensions by name, shadowed ones last."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.found.name)
        return tuple(entry.status for entry in (*entries, *self._shadowed))

    def load(self, core_plugins: Sequence[object] = ()) -> None:
        """Find and load what there is and build the first set; what fails is set aside, nothing is raised."""
        with self._switching:
            self._core = tuple(core_plugins)
            choices = self._read_choices()
            for found in find_extensions(self.roots):
                entry = _Entry(found, State.DISABLED)
                if found.shadowed_by is not None:
                    entry.state, entry.reason = State.FOUND, f"{found.shadowed_by} has the same name and comes first"
                    self._shadowed.append(entry)
                    continue
                self._entries[found.name] = entry
                if found.name in self.disabled:
                    entry.reason = "switched off by the settings"
                elif found.manifest is None:
                    entry.state, entry.reason = State.FAILED, found.reason
                elif found.name in self.required or choices.get(found.name, found.manifest.enabled):
                    self._switch_on(entry)
            self._swap()

    def start(self, app: Any) -> None:
        """Call `startup` of every enabled extension; one that fails is set aside."""
        with self._switching:
            self._app = app
            for entry in self._enabled():
                self._start(entry)
            self._swap()  # without those that failed to start

    def stop(self) -> None:
        """Call `shutdown` of every extension that was started; after the jobs are done."""
        with self._lock:
            leaving, self._started = self._started, []
        for extension in reversed(leaving):
            self._shut_down(extension)

    def enable(self, name: str, *, remember: bool = True) -> ExtensionStatus:
        """Switch on; the answer says what came of it. Errors: UnknownName, Forbidden.

        `remember`: also after a restart. A worker follows its gateway, which does the remembering.
        """
        with self._switching:
            entry = self._entry(name)
            if name in self.disabled:
                raise Forbidden(f"extension {name!r} is switched off by the settings")
            if remember:
                self._remember(name, True)
            self._switch_on(entry)
            self._swap()
            return entry.status

    def disable(self, name: str, *, remember: bool = True) -> ExtensionStatus:
        """Switch off; running jobs keep it to their end. Errors: UnknownName, Forbidden."""
        with self._switching:
            entry = self._entry(name)
            if name in self.required:
                raise Forbidden(f"extension {name!r} is required by the settings")
            if remember:
                self._remember(name, False)
            if entry.found.manifest is not None:  # a folder that cannot be read keeps its reason
                entry.instance = None
                entry.state, entry.reason = State.DISABLED, "switched off"
            self._swap()
        self._shut_down_unused()
        return entry.status

    def register_routes(self, app: Any) -> tuple[Owned, ...]:
        """The routers of all enabled extensions; one that fails, or has a route of another's, is set aside."""
        return self._collect("register_routes", app, _routes)

    def register_tabs(self, app: Any) -> tuple[Owned, ...]:
        """The tabs of all enabled extensions; one that fails is set aside."""
        return self._collect("register_tabs", app, lambda owned: ())

    # Inside; called by one thread at a time, which holds `_switching`.

    def _enabled(self) -> tuple[_Entry, ...]:
        return tuple(entry for entry in self._entries.values() if entry.instance is not None)

    def _extensions(self) -> tuple[Extension, ...]:
        return tuple(entry.instance for entry in self._entries.values() if entry.instance is not None)

    def _switch_on(self, entry: _Entry) -> None:
        """Load and, in a running service, start; a folder without a readable manifest stays failed."""
        manifest = entry.found.manifest
        if manifest is None or entry.instance is not None:
            return
        try:
            check_requirements(manifest)
            data = self.state_dir / "extensions" / manifest.name
            extension = load_extension(manifest, entry.found.folder, data, self.environment)
            Hooks.build(self._core, (*self._extensions(), extension))  # its scripts beside everybody else's
        except EaselError as error:
            entry.set_aside(error)
            return
        entry.state, entry.reason, entry.instance = State.ENABLED, "", extension
        if self._app is not None:
            self._start(entry)

    def _start(self, entry: _Entry) -> None:
        assert entry.instance is not None
        failures = Hooks.build((), (entry.instance,)).startup(self._app)
        if failures:
            entry.set_aside(failures[0])

    def _swap(self) -> None:
        """Put a new set in force; who cannot be part of it is set aside."""
        while True:
            extensions = self._extensions()
            try:
                new = _Set(Hooks.build(self._core, extensions), extensions)
                break
            except ExtensionError as error:
                if error.extension not in self._entries:
                    raise
                self._entries[error.extension].set_aside(error)
        with self._lock:
            self._current = new
            self._sets = [*(one for one in self._sets if one.holders), new]
            if self._app is not None:
                self._started += [one for one in extensions if one not in self._started]

    def _collect(self, hook: str, app: Any, names: Callable[[Owned], Iterable[str]]) -> tuple[Owned, ...]:
        """What a hook collects from everybody; of two that take one of `names`, the second is set aside."""
        with self._switching:
            owners: dict[str, str] = {}
            collected = _claimed(getattr(Hooks.build(self._core), hook)(app), hook, names, owners)
            for entry in self._enabled():
                assert entry.instance is not None
                try:
                    alone = Hooks.build((), (entry.instance,))
                    collected += _claimed(getattr(alone, hook)(app), hook, names, owners)
                except ExtensionError as error:
                    entry.set_aside(error)
            self._swap()  # without those that failed
        self._shut_down_unused()
        return collected

    def _whereabouts(self, name: str) -> str:
        """In words, why an extension is not in force."""
        entry = self._entries.get(name)
        return "which is not there" if entry is None else f"which is {entry.state}: {entry.reason}"

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise UnknownName.among("extension", name, self._entries)
        return self._entries[name]

    def _remember(self, name: str, on: bool) -> None:
        """Keep an operator's choice over restarts; whole or not at all."""
        choices = {**self._read_choices(), name: on}
        self.state_dir.mkdir(parents=True, exist_ok=True)
        temporary = self._choices_file.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("w") as file:
            json.dump(choices, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._choices_file)

    @property
    def _choices_file(self) -> Path:
        return self.state_dir / "extensions.json"

    def _read_choices(self) -> dict[str, bool]:
        """What was switched at run time, by name."""
        try:
            choices = json.loads(self._choices_file.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            log.warning("%s is not valid JSON (%s): every extension as its manifest says", self._choices_file, error)
            return {}
        return {name: on for name, on in choices.items() if isinstance(on, bool)} if isinstance(choices, dict) else {}

    # Shutting down: by whoever gave back the last hold, or switched.

    def _shut_down_unused(self) -> None:
        with self._lock:
            self._sets = [one for one in self._sets if one.holders or one is self._current]
            used = {id(extension) for one in self._sets for extension in one.extensions}
            leaving = [extension for extension in self._started if id(extension) not in used]
            self._started = [extension for extension in self._started if id(extension) in used]
        for extension in leaving:
            self._shut_down(extension)

    def _shut_down(self, extension: Extension) -> None:
        Hooks.build((), (extension,)).shutdown(self._app)


def _claimed(
    found: tuple[Owned, ...], hook: str, names: Callable[[Owned], Iterable[str]], owners: dict[str, str]
) -> tuple[Owned, ...]:
    """`found`, its names noted in `owners`. Errors: ExtensionError when one is taken."""
    taken = {name: owned.extension for owned in found for name in names(owned)}
    for name, extension in taken.items():
        if name in owners:
            raise ExtensionError(extension, hook, f"{name} belongs to {owners[name] or 'the core'!r} already")
    owners |= taken
    return found


def _routes(owned: Owned) -> Iterator[str]:
    """`GET /path` of every route of a router."""
    if not hasattr(owned.value, "routes"):
        raise ExtensionError(owned.extension, "register_routes", f"returned {owned.value!r}; allowed: APIRouter")
    for route in owned.value.routes:
        yield from (f"{method} {route.path}" for method in sorted(getattr(route, "methods", None) or ()))
