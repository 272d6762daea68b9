"""Which extensions there are, what became of each, and the set of hooks in force.

What is on is decided anew at every change (`_off_because`), and then made so (`_settle`): a new immutable `Hooks` is
put in force by swapping one reference. Who runs a job takes the set with `hold()` and keeps it to the job's end; an
extension that was switched off meanwhile is shut down only after that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from easel.errors import Conflict, EaselError, ExtensionError, Forbidden, NotAvailable, UnknownName
from easel.extensions import claims
from easel.extensions.configuration import ExtensionSettings
from easel.extensions.entry import Entry, entries_of
from easel.extensions.extension import Extension
from easel.extensions.hooks import Hooks
from easel.extensions.loader import load_extension
from easel.extensions.memory import Memory, Remembered
from easel.extensions.patience import limited
from easel.extensions.quarantine import Quarantine
from easel.extensions.requirements import check_requirements
from easel.extensions.sets import Selection, Sets
from easel.extensions.status import ExtensionStatus, State
from easel.extensions.watch import Fault, Watch
from easel.fetching import Fetcher
from easel.files import ScopedFiles

log = logging.getLogger(__name__)
Limit = Literal["none", "extra", "all"]  # whom A1111's option `disable_all_extensions` switches off


@dataclass(eq=False)
class Registry:
    """The extensions of one process.

    `roots`: folders to look in (`finder.standard_roots`, `finder.installed_roots`). `disabled`: names the operator's
    settings switch off for good, `required`: those that they insist on, without which no job runs. `common`: users
    cannot leave any out. What operators choose is remembered in `<state_dir>/extensions.json`, and each extension may
    keep files below `<state_dir>/extensions/<name>`.
    """

    roots: Sequence[Path]
    state_dir: Path
    disabled: Collection[str] = ()
    required: Collection[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    common: bool = False
    limit: Limit = "none"
    shared: Callable[[], ScopedFiles] | None = None  # the data folder, for extensions that declare paths in it
    fetcher: Fetcher = field(default_factory=Fetcher)
    quarantine: Quarantine = field(default_factory=Quarantine)
    patience: float = 0.0  # seconds that loading, starting or stopping one may take; 0: any

    def __post_init__(self) -> None:
        """Begin with a set without any plugin."""
        self.left_out: Callable[[], Collection[str]] = tuple  # those that the acting user does without
        self.changed: Callable[[], None] = lambda: None  # told after every change, in the order of the changes
        self.watch = Watch()
        self.watch.tell = self.note
        self._switching = threading.RLock()  # held while extensions are loaded and started, which may take its time
        self._memory = Memory(self.state_dir / "extensions.json")
        self._sets = Sets(self._shut_down)
        self._core: tuple[object, ...] = ()
        self._app: Any = None
        self._taken: frozenset[str] | None = None  # routes of the core, in a process that serves routes
        self._entries: dict[str, Entry] = {}
        self._shadowed: tuple[Entry, ...] = ()
        self._leader: Mapping[str, int] | None = None  # in a worker: who is on in the gateway, with its stamp
        self._made = 0  # instances

    # What is in force.

    @property
    def hooks(self) -> Hooks:
        """The set in force now, for the acting user."""
        return self._sets.select(self.selection())

    def keep(self) -> AbstractContextManager[Hooks]:
        """The same, kept alive meanwhile, for what is no job."""
        return self._sets.hold(self.selection())

    def selection(self) -> Selection:
        """Which of those that are on the acting user wants; None: all."""
        left_out = () if self.common else self.left_out()
        return self._selected(set(self._sets.hooks.extensions) - set(left_out)) if left_out else None

    def hold(self, selection: Selection = None) -> AbstractContextManager[Hooks]:
        """A user's set, kept alive while a job runs with it. Errors: NotAvailable without a required extension."""
        self.refuse_without_required()
        return self._sets.hold(self._selected(selection))

    def select(self, selection: Selection = None) -> Hooks:
        """A user's set, to look at. `selection` names those the user wants of the ones that are on; None: all."""
        return self._sets.select(self._selected(selection))

    def refuse_without_required(self) -> None:
        """Errors: NotAvailable while an extension that the settings insist on is not in force."""
        for name in self.required:
            if name not in self.hooks.extensions:
                entry = self._entries.get(name)
                where = "is not there" if entry is None else f"is {entry.state}: {entry.reason}"
                raise NotAvailable(f"the settings require the extension {name}, which {where}")

    def _selected(self, selection: Selection) -> Selection:
        return None if self.common or selection is None else {*selection, *self.required}

    def list(self) -> tuple[ExtensionStatus, ...]:
        """All extensions by name, shadowed ones last."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.found.name)
        return tuple(self._status(entry) for entry in (*entries, *self._shadowed))

    def status(self, name: str) -> ExtensionStatus:
        """One extension. Errors: UnknownName."""
        return self._status(self._entry(name))

    def stamps(self) -> Mapping[str, int]:
        """Who is on, and the number of its instance: what a worker follows."""
        return {name: entry.stamp for name, entry in self._entries.items() if entry.instance is not None}

    # Life of the process.

    def load(self, core_plugins: Sequence[object] = ()) -> None:
        """Find and load what there is and build the first set; what fails is set aside, nothing is raised."""
        with self._switching:
            self._core = tuple(core_plugins)
            self._look()
            self._settle()

    def start(self, app: Any) -> None:
        """Call `startup` of every enabled extension; one that fails is set aside."""
        with self._switching:
            self._app = app
            for entry in self._enabled():
                self._begin(entry)
            self._swap()  # without those that failed to start

    def mount(self, taken: Iterable[str] = ()) -> None:
        """From now on `hooks.routers` and `hooks.tabs` are there too; `taken` are the core's routes (`GET /path`)."""
        with self._switching:
            self._taken = frozenset(taken)
            for entry in self._enabled():
                self._mount(entry)
            self._swap()

    def stop(self) -> None:
        """Call `shutdown` of every extension that was started; after the jobs are done."""
        self._sets.stop()

    # Switching.

    def enable(self, name: str) -> ExtensionStatus:
        """Switch on, also after a restart; the answer says what came of it. Errors: UnknownName, Forbidden."""
        with self._switching:
            self._entry(name)
            if name in self.disabled:
                raise Forbidden(f"extension {name!r} is switched off by the settings")
            self._memory.change("switched", name, True)
            self._settle(retry=(name,))
        return self._settled(name)

    def disable(self, name: str) -> ExtensionStatus:
        """Switch off, also after a restart; running jobs keep it to their end. Errors: UnknownName, Forbidden."""
        with self._switching:
            self.may_disable((name,))
            self._memory.change("switched", name, False)
            self._settle()
        return self._settled(name)

    def switched_off(self) -> tuple[str, ...]:
        """A1111's option `disabled_extensions`: those that would be on, had no operator switched them off."""
        off = (name for name, on in self._memory.read().switched.items() if not on)
        manifests = {name: entry.found.manifest for name, entry in self._entries.items()}
        return tuple(sorted(name for name in off if (manifest := manifests.get(name)) and manifest.enabled))

    def may_disable(self, names: Iterable[str]) -> None:
        """Errors: UnknownName, Forbidden for one that the settings require."""
        for name in names:
            self._entry(name)
            if name in self.required:
                raise Forbidden(f"extension {name!r} is required by the settings")

    def disable_these(self, names: Collection[str]) -> None:
        """Switch off these and no others. Errors: UnknownName, Forbidden; then nothing is changed."""
        with self._switching:
            self.may_disable(names)
            before = set(self.switched_off())
            for name in before ^ set(names):
                self._memory.change("switched", name, None if name in before else False)
            self._settle(retry=before - set(names))
        self._sets.shut_down_unused()

    def settings(self, name: str) -> ExtensionSettings:
        """What an extension that is on can be set to, and is. Errors: UnknownName, Conflict (it is not on)."""
        instance = self._entry(name).instance
        if instance is None:
            raise Conflict(f"extension {name!r} is not on: it cannot say what its settings are")
        return ExtensionSettings.of(instance, self.environment)

    def configure(self, name: str, values: Mapping[str, Any]) -> ExtensionStatus:
        """Keep these settings, also over restarts, and begin anew with them; none: the defaults.

        Errors: UnknownName, BadRequest (values), Conflict (it is not on; the defaults are possible even then).
        """
        with self._switching:
            entry = self._entry(name)
            if values:
                self.settings(name).check(values)
            self._memory.change("settings", name, dict(values) or None)
            entry.switch_off(State.DISABLED, "")
            self._settle(retry=(name,))
        return self._settled(name)

    def restrict(self, limit: Limit) -> None:
        """Switch off nobody, all that do not come with Easel, or all (but the required ones)."""
        with self._switching:
            self.limit = limit
            self._settle()
        self._sets.shut_down_unused()

    def note(self, fault: Fault) -> None:
        """In the gateway: an extension failed here or in a worker. Too often, and it is put in quarantine."""
        with self._switching:
            entry = self._entries.get(fault.extension)
            if self.quarantine.add(fault) and entry is not None and entry.instance is not None:
                log.error("extension %s is put in quarantine", fault.extension)
                self._memory.change("quarantined", fault.extension, self.quarantine.evidence(fault.extension))
                self._settle()
        self._sets.shut_down_unused()

    def release(self, name: str) -> ExtensionStatus:
        """Let an extension out of quarantine and switch it on. Errors: UnknownName."""
        with self._switching:
            self._entry(name)
            self.quarantine.forget(name)
            self._memory.change("quarantined", name, None)
            self._settle(retry=(name,))
        return self._settled(name)

    def faults(self, name: str) -> tuple[Fault, ...]:
        """An extension's failures while it served, the newest first: for operators alone. Errors: UnknownName."""
        self._entry(name)
        return self.quarantine.of(name, self._memory.read().quarantined.get(name))

    def rescan(self) -> tuple[ExtensionStatus, ...]:
        """Look at the folders again: new and removed ones, changed manifests; who failed is tried once more."""
        with self._switching:
            self._look()
            self._settle(retry=self._entries)
        self._sets.shut_down_unused()
        return self.list()

    def refresh(self) -> None:
        """Ask the extensions once more for what depends on the model folders: their upscalers."""
        with self._switching:
            self._swap()
        self._sets.shut_down_unused()

    def follow(self, stamps: Mapping[str, int]) -> Mapping[str, str]:
        """In a worker: have on who is on in the gateway; the answer says why one of them is not."""
        with self._switching:
            for name, entry in self._entries.items():
                if entry.instance is not None and name in stamps and entry.stamp not in (0, stamps[name]):
                    entry.switch_off(State.DISABLED, "")  # the gateway has a fresh instance
            self._leader = dict(stamps)
            fresh = [name for name in stamps if name not in self._entries or self._entries[name].instance is None]
            if fresh:
                self._look()
            self._settle(retry=fresh)
            for name, entry in self._entries.items():
                entry.stamp = stamps.get(name, 0)
            lacking = {name: self._entries.get(name) for name in stamps if name not in self.hooks.extensions}
        self._sets.shut_down_unused()
        return {name: entry.reason if entry else "it is not found there" for name, entry in lacking.items()}

    def lacks(self, reasons: Mapping[str, str]) -> None:
        """In the gateway: a worker could not follow. Who does not run there does not count as on here."""
        with self._switching:
            for name, reason in reasons.items():
                if (entry := self._entries.get(name)) is not None and entry.instance is not None:
                    entry.switch_off(State.FAILED, f"in the worker: {reason}")
            self._swap()
        self._sets.shut_down_unused()

    # Inside; called by one thread at a time, which holds `_switching`.

    def _look(self) -> None:
        self._entries, self._shadowed = entries_of(self.roots, self._entries)

    def _off_because(self, entry: Entry, remembered: Remembered) -> tuple[State, str] | None:
        """Why an extension is not to be on; None: it is."""
        name, manifest = entry.found.name, entry.found.manifest
        if self._leader is not None:
            return None if name in self._leader else (State.DISABLED, "switched off")
        if name in self.disabled:
            return State.DISABLED, "switched off by the settings"
        if name in remembered.quarantined:
            return State.QUARANTINED, str(remembered.quarantined[name].get("reason", ""))
        if name in self.required:
            return None
        if self.limit == "all" or (self.limit == "extra" and not entry.found.own):
            return State.DISABLED, f"switched off by disable_all_extensions ({self.limit})"
        if name in remembered.switched:
            return None if remembered.switched[name] else (State.DISABLED, "switched off")
        return None if manifest is None or manifest.enabled else (State.DISABLED, "off until it is switched on")

    def _settle(self, retry: Collection[str] = ()) -> None:
        """Make what is on what should be; of those that failed before only the ones in `retry` are tried again."""
        remembered = self._memory.read()
        wanted = []
        for entry in self._entries.values():
            off = self._off_because(entry, remembered)
            if off is not None:
                entry.switch_off(*off)
            elif entry.found.manifest is not None:
                wanted.append(entry)
        for entry in wanted:
            if entry.instance is None and (entry.state is State.DISABLED or entry.found.name in retry):
                others = [one.found.manifest for one in wanted if one is not entry and one.found.manifest]
                self._switch_on(entry, others)
        self._swap()

    def _switch_on(self, entry: Entry, others: Sequence[Any]) -> None:
        """Load and, in a running service, start."""
        manifest = entry.found.manifest
        assert manifest is not None
        try:
            check_requirements(manifest, others)
            data = self.state_dir / "extensions" / manifest.name
            with limited(manifest.name, self.patience):
                extension = load_extension(
                    manifest,
                    entry.found.folder,
                    data,
                    self.environment,
                    stored=self._memory.read().settings.get(manifest.name),
                    shared=self.shared,
                    fetcher=self.fetcher,
                )
                Hooks.build(self._core, (*self._extensions(), extension))  # its scripts beside everybody else's
        except EaselError as error:
            entry.set_aside(error)
            return
        self._made += 1
        self.watch.forget(manifest.name)
        entry.switch_on(extension, self._made)
        if self._app is not None:
            self._begin(entry)
        if self._taken is not None and entry.instance is not None:
            self._mount(entry)

    def _begin(self, entry: Entry) -> None:
        assert entry.instance is not None
        try:
            with limited(entry.found.name, self.patience):
                failures = Hooks.build((), (entry.instance,)).startup(self._app)
        except ExtensionError as error:
            failures = (error,)
        if failures:
            entry.set_aside(failures[0])

    def _mount(self, entry: Entry) -> None:
        """Collect its routes and tabs; of two that want the same name, the second is set aside."""
        assert entry.instance is not None and self._taken is not None
        others = [one for one in self._enabled() if one is not entry]
        routers = [one for each in others for one in each.routers]
        tabs = [one for each in others for one in each.tabs]
        try:
            with limited(entry.found.name, self.patience):
                alone = Hooks.build((), (entry.instance,))
                entry.routers, entry.tabs = claims.pages(alone, self._app, self._taken, routers, tabs)
        except ExtensionError as error:
            self._shut_down(entry.instance)
            entry.set_aside(error)

    def _swap(self) -> None:
        """Put a new set in force; who cannot be part of it is set aside."""
        while True:
            extensions = self._extensions()
            try:
                hooks = Hooks.build(self._core, extensions, self.watch)
                break
            except ExtensionError as error:
                if error.extension not in self._entries:
                    raise
                self._entries[error.extension].set_aside(error)
        mounted = sorted(self._enabled(), key=lambda entry: entry.found.name)
        hooks = hooks.with_pages(
            tuple(one for entry in mounted for one in entry.routers),
            tuple(one for entry in mounted for one in entry.tabs),
        )
        core = self._core
        build = lambda chosen: Hooks.build(core, chosen, self.watch)  # noqa: E731
        self._sets.put(hooks, extensions, build, started=self._app is not None)
        self.changed()

    def _shut_down(self, extension: Extension) -> None:
        with suppress(ExtensionError), limited(extension.name, self.patience):
            Hooks.build((), (extension,)).shutdown(self._app)

    def _enabled(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self._entries.values() if entry.instance is not None)

    def _extensions(self) -> tuple[Extension, ...]:
        return tuple(entry.instance for entry in self._entries.values() if entry.instance is not None)

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise UnknownName.among("extension", name, self._entries)
        return self._entries[name]

    def _status(self, entry: Entry) -> ExtensionStatus:
        name = entry.found.name
        titles = tuple(one.script.title for one in self.hooks.scripts.owned if one.extension == name)
        status = entry.status(required=name in self.required, scripts=titles if entry.instance else ())
        chosen = self.selection()
        if status.state is not State.ENABLED or chosen is None or name in chosen:
            return status
        return replace(status, state=State.DISABLED, reason="left out by you", scripts=())

    def _settled(self, name: str) -> ExtensionStatus:
        self._sets.shut_down_unused()
        return self.status(name)
