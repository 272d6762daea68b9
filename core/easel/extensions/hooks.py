"""The typed face of one immutable set of hook implementations: the core calls `hooks.rewrite_prompt(prompt, job)`.

Every method is one hook of `easel.hookspecs`; its call style is the line of its body. A set is never changed:
switching an extension builds another set (`registry.py`), and a running job keeps the one it started with.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from easel import hookspecs
from easel.errors import ExtensionError, NotFound
from easel.extensions.changes import change_in_words, changed_fields, undeclared
from easel.extensions.guard import Part, guard
from easel.extensions.script import OwnedScript, Script, Scripts
from easel.extensions.task import Task, tasks_of
from easel.extensions.watch import Watch
from easel.values.result import Draft, ReportLine, TraceLine

if TYPE_CHECKING:
    from fastapi import Request

    from easel.extensions.extension import Extension
    from easel.values.conditioning import Conditioning
    from easel.values.image import Image, SavedImage
    from easel.values.job import Job
    from easel.values.prompt import Prompt
    from easel.values.request import TaskCall
    from easel.values.step import Step
    from easel.values.user import User

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Implementation:
    """One hook method of one plugin; `extension` is "" for the core's own."""

    extension: str
    plugin: str
    call: Callable[..., Any]
    arguments: tuple[str, ...]  # the hook's arguments that this method asks for


@dataclass(frozen=True, slots=True)
class Owned:
    """Something an extension registered, with the extension's name ("" for the core)."""

    extension: str
    value: Any


@dataclass(frozen=True, slots=True)
class Hooks:
    """One set of implementations, each hook's in the order they are called.

    The order is `tryfirst`, then by extension name, then `trylast`; within each of the three the core's come last.
    """

    relay: Any  # pluggy's hook relay: calls hooks of the style "first", wrappers included
    implementations: Mapping[str, tuple[Implementation, ...]]
    extensions: tuple[str, ...]
    scripts: Scripts
    upscalers: tuple[Owned, ...]
    face_restorers: tuple[Owned, ...]
    tasks: Mapping[tuple[str, str], Task]  # by extension and method
    routers: tuple[Owned, ...] = ()  # `APIRouter`s, in a process that serves them
    tabs: tuple[Owned, ...] = ()  # of the page, the same
    watch: Watch = field(default_factory=Watch)  # who is inside an extension's code, who fails
    folders: Mapping[str, Path] = field(default_factory=dict)  # of the extensions' code, by name
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # what differs from the defaults, by name
    changes: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)  # what extensions may change; None: all

    @classmethod
    def build(
        cls,
        core_plugins: Sequence[object] = (),
        extensions: Sequence[Extension] = (),
        watch: Watch | None = None,
    ) -> Hooks:
        """A set of the core's plugins and these extensions; `watch` sees them at work.

        Errors: `pluggy.PluginValidationError` for a hook with wrong arguments (the loader has words for that),
        `ExtensionError` when a script, upscaler or face restorer cannot be registered or has a name that is taken.
        """
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        ordered = sorted(extensions, key=lambda extension: extension.name)
        plugins: list[tuple[str, str, object]] = [(one.name, one.name, one) for one in ordered]
        plugins += [("", type(one).__name__, one) for one in core_plugins]
        for last in (False, True):
            for extension, name, plugin in plugins if last else reversed(plugins):
                manager.register(Part(name, plugin, manager, extension=extension, last=last, watch=watch))
        implementations = {hook: _implementations(manager, hook) for hook in hookspecs.STYLES}
        names = tuple(extension.name for extension in ordered)
        tasks = MappingProxyType({(one.extension, one.name): one for one in _tasks(plugins, watch)})
        bare = cls(manager.hook, MappingProxyType(implementations), names, Scripts(), (), (), tasks)
        scripts = Scripts(tuple(_owned_script(owned) for owned in bare.register_scripts()))
        return replace(
            bare,
            scripts=scripts,
            upscalers=_distinct("register_upscalers", "Upscaler", bare.register_upscalers()),
            face_restorers=_distinct("register_face_restorers", "FaceRestorer", bare.register_face_restorers()),
            watch=watch or Watch(),
            folders=MappingProxyType({one.name: one.folder for one in ordered}),
            settings=MappingProxyType({one.name: _changed(one) for one in ordered}),
            changes=MappingProxyType({one.name: one.permissions.changes for one in ordered}),
        )

    def with_pages(self, routers: tuple[Owned, ...], tabs: tuple[Owned, ...]) -> Hooks:
        """The same set with what its extensions serve."""
        return replace(self, routers=routers, tabs=tabs)

    # Life of an extension. The registry calls these for a set of one, to know whom to set aside.

    def startup(self, app: Any) -> tuple[ExtensionError, ...]:
        """Notify; what failed is returned."""
        return self._notify("startup", {"app": app})

    def shutdown(self, app: Any) -> None:
        """Notify, in reverse order."""
        self._notify("shutdown", {"app": app}, backwards=True)

    def register_scripts(self) -> tuple[Owned, ...]:
        """Collect `Script`s; `hooks.scripts` has them ready for use."""
        return self._collect("register_scripts")

    def register_upscalers(self) -> tuple[Owned, ...]:
        """Collect upscalers; `hooks.upscalers` has them ready for use."""
        return self._collect("register_upscalers")

    def register_face_restorers(self) -> tuple[Owned, ...]:
        """Collect face restorers; `hooks.face_restorers` has them ready for use."""
        return self._collect("register_face_restorers")

    def register_routes(self, app: Any) -> tuple[Owned, ...]:
        """Collect `APIRouter`s; `hooks.routers` has them ready for use."""
        return self._collect("register_routes", app=app)

    def register_tabs(self, app: Any) -> tuple[Owned, ...]:
        """Collect tabs of the page; `hooks.tabs` has them ready for use."""
        return self._collect("register_tabs", app=app)

    # At the door.

    def authenticate(self, request: Request) -> User | None:
        """First; closed."""
        user: User | None = self.relay.authenticate(request=request)
        return user

    def admit_job(self, job: Job) -> None:
        """Check; closed: any exception refuses the job."""
        for implementation in self.implementations["admit_job"]:
            with _charged(implementation.extension, job):
                _call(implementation, {"job": job})

    # The road of a job.

    def generate(self, job: Job) -> Draft | None:
        """First, with wrappers; a failure fails the job."""
        draft: Draft | None = self.relay.generate(job=job)
        return draft

    def rewrite_prompt(self, prompt: Prompt, job: Job) -> Prompt:
        """Chain; a failing implementation is skipped with a warning."""
        return self._chain("rewrite_prompt", "prompt", prompt, job)

    def add_conditioning(self, conditioning: Conditioning, job: Job) -> Conditioning:
        """Chain; a failing implementation is skipped with a warning."""
        return self._chain("add_conditioning", "conditioning", conditioning, job)

    def denoise_step(self, step: Step, job: Job) -> None:
        """Notify."""
        self._notify("denoise_step", {"step": step, "job": job})

    def process_images(self, images: tuple[Image, ...], job: Job) -> tuple[Image, ...]:
        """Chain; a failing implementation is skipped with a warning."""
        if job.request.explain:
            self.would_run("process_images", job)
            return images
        return self._chain("process_images", "images", images, job)

    def review_images(self, images: tuple[Image, ...], job: Job) -> tuple[Image, ...]:
        """Chain; closed: a failing implementation fails the job. Previews leave no trace, there may be hundreds."""
        traced = any(image.kind != "intermediate" for image in images)
        return self._chain("review_images", "images", images, job, closed=True, traced=traced)

    def save_image(self, image: Image, job: Job) -> SavedImage | None:
        """First; a failure fails the job."""
        saved: SavedImage | None = self.relay.save_image(image=image, job=job)
        return saved

    def job_changed(self, job: Job) -> None:
        """Notify."""
        self._notify("job_changed", {"job": job})

    def would_run(self, hook: str, job: Job) -> None:
        """Trace who would be asked, of a job that is only explained: there are no pictures to show them."""
        asked = (one.extension for one in self.implementations[hook] if one.extension)
        job.trace += [TraceLine(hook=hook, extension=name, outcome="would run") for name in asked]

    # Tasks: no hooks, but an extension's code all the same.

    def task(self, called: TaskCall) -> Task:
        """The task that was called. Errors: NotFound when there is none, or its extension is off."""
        found = self.tasks.get((called.extension, called.task))
        if found is None:
            raise NotFound(f"no extension that is switched on has a task {called.extension}.{called.task}")
        return found

    def run_task(self, called: TaskCall, job: Job) -> Draft:
        """What the task makes. Errors: NotFound, BadRequest, ExtensionError."""
        task = self.task(called)
        arguments = task.parse(called.arguments)
        draft = task.call(arguments, job)
        if not isinstance(draft, Draft):
            raise ExtensionError(task.extension, task.name, f"returned {type(draft).__name__}; allowed: Draft")
        return draft

    # The call styles ("first" is pluggy's own).

    def _collect(self, hook: str, **arguments: Any) -> tuple[Owned, ...]:
        collected = []
        for implementation in self.implementations[hook]:
            found = _call(implementation, arguments)
            several = found if isinstance(found, (list, tuple)) else (found,)
            collected += [Owned(implementation.extension, value) for value in several if value is not None]
        return tuple(collected)

    def _notify(
        self, hook: str, arguments: Mapping[str, Any], *, backwards: bool = False
    ) -> tuple[ExtensionError, ...]:
        failures = []
        implementations = self.implementations[hook]
        for implementation in reversed(implementations) if backwards else implementations:
            try:
                with _charged(implementation.extension, arguments.get("job")):
                    _call(implementation, arguments)
            except ExtensionError as error:
                log.error("%s", error.message, exc_info=error)
                failures.append(error)
        return tuple(failures)

    def _chain(self, hook: str, argument: str, value: T, job: Job, *, closed: bool = False, traced: bool = True) -> T:
        for implementation in self.implementations[hook]:
            started = time.perf_counter()
            outcome, words = "unchanged", ""
            try:
                with _charged(implementation.extension, job):
                    changed = _call(implementation, {argument: value, "job": job})
                self._check(hook, argument, implementation, changed, value)
            except ExtensionError as error:
                if closed or job.request.strict or self.scripts.asked_for(job.request, error.extension):
                    raise
                log.error("%s (left out of job %s)", error.message, job.id, exc_info=error)
                job.warn(f"{error.message}; its part was left out")
                job.note(_line(hook, "ignored", error.reason, error.extension))
                outcome, words = "left out", error.reason
            else:
                if changed is not None and changed is not value:
                    outcome, words = "changed", change_in_words(value, changed)
                    if implementation.extension:
                        job.note(_line(hook, "applied", changed_fields(value, changed), implementation.extension))
                    value = changed
            if traced and implementation.extension:
                job.trace.append(_traced(hook, implementation.extension, outcome, words, started))
        return value

    def _check(self, hook: str, argument: str, who: Implementation, changed: object, before: object) -> None:
        """Is what a chain hook returned of the right type, and within its permissions? Errors: ExtensionError."""
        reason = ""
        if changed is not None and not isinstance(changed, type(before)):
            reason = f"returned {type(changed).__name__}; allowed: {type(before).__name__} or None"
        elif changed is not None and changed is not before:
            declared = self.changes.get(who.extension)
            if declared is not None and (found := undeclared(argument, before, changed, declared)):
                reason = f"changed {found}; its manifest declares: {', '.join(declared) or 'nothing'}"
        if reason:
            raise self.watch.failed(ExtensionError(who.extension or who.plugin, hook, reason))
        self.watch.worked(who.extension, hook)


def _implementations(manager: pluggy.PluginManager, hook: str) -> tuple[Implementation, ...]:
    """The methods of one hook in the order they are called; wrappers are pluggy's own business."""
    return tuple(
        Implementation(
            extension=found.plugin.extension,
            plugin=found.plugin.name,
            call=found.function,
            arguments=(*found.argnames, *found.kwargnames),
        )
        for found in reversed(getattr(manager.hook, hook).get_hookimpls())
        if not found.wrapper
    )


def _tasks(plugins: Sequence[tuple[str, str, object]], watch: Watch | None) -> Iterator[Task]:
    for extension, _, plugin in plugins:
        for name, arguments in tasks_of(plugin).items():
            method = getattr(plugin, name)
            call = guard(extension, name, method, watch) if extension else method
            yield Task(extension, name, arguments, call)


def _owned_script(owned: Owned) -> OwnedScript:
    if not isinstance(owned.value, Script):
        raise ExtensionError(owned.extension, "register_scripts", f"returned {owned.value!r}; allowed: Script")
    return OwnedScript(owned.extension, owned.value)


def _changed(extension: Extension) -> Mapping[str, Any]:
    if extension.settings is None:
        return {}
    values: dict[str, Any] = extension.settings.model_dump(mode="json", exclude_defaults=True)
    return values


def _distinct(hook: str, kind: str, registered: tuple[Owned, ...]) -> tuple[Owned, ...]:
    """What was registered, if each has a name of its own. Errors: ExtensionError."""
    owners: dict[str, str] = {}
    for owned in registered:
        name = getattr(owned.value, "name", None)
        if not isinstance(name, str):
            raise ExtensionError(owned.extension, hook, f"returned {owned.value!r}; allowed: {kind}")
        if name in owners:
            what = hook.removeprefix("register_").removesuffix("s").replace("_", " ")
            reason = f"the {what} {name!r} belongs to {owners[name] or 'the core'!r} already"
            raise ExtensionError(owned.extension, hook, reason)
        owners[name] = owned.extension
    return registered


def _call(implementation: Implementation, arguments: Mapping[str, Any]) -> Any:
    return implementation.call(**{name: arguments[name] for name in arguments if name in implementation.arguments})


def _charged(extension: str, job: Job | None) -> AbstractContextManager[None]:
    """Also of a method that does not ask for the job (`guard` charges the others; nothing counts twice)."""
    return job.charged(extension) if job is not None and extension else nullcontext()


def _line(hook: str, outcome: Any, reason: str, extension: str) -> ReportLine:
    return ReportLine(item=hook, outcome=outcome, reason=reason, extension=extension)


def _traced(hook: str, extension: str, outcome: Any, change: str, started: float) -> TraceLine:
    seconds = round(time.perf_counter() - started, 4)
    return TraceLine(hook=hook, extension=extension, outcome=outcome, change=change, seconds=seconds)
