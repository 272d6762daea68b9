"""Between pluggy and an extension's code: whatever it raises gets the name of the extension and the hook.

Easel's own errors (`JobRefused`, `JobCancelled`, `BadRequest` …) are decisions, not failures: they pass unchanged.
`SystemExit` counts as a failure, so that an extension cannot end the process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from inspect import ismethod
from typing import TYPE_CHECKING, Any

from easel.errors import EaselError, ExtensionError
from easel.extensions.watch import Watch, job_among
from easel.hookspecs import STYLES, hookimpl
from easel.values.job import Job

if TYPE_CHECKING:
    import pluggy


class Part:
    """What is registered with pluggy in a plugin's place: its hook methods, an extension's ones guarded.

    pluggy calls what was registered last first, but within `trylast` the other way round; to have one order in both,
    a plugin is registered as two parts, one `last` and one not.
    """

    def __init__(
        self,
        name: str,
        plugin: object,
        manager: pluggy.PluginManager,
        *,
        extension: str,
        last: bool,
        watch: Watch | None,
    ) -> None:
        self.name, self.extension = name, extension
        for hook in STYLES:
            options = manager.parse_hookimpl_opts(plugin, hook)
            if options is not None and options["trylast"] == last:
                function = getattr(plugin, hook)
                if extension:
                    function = (_guard_wrapper if options["wrapper"] else guard)(extension, hook, function, watch)
                setattr(self, hook, function if ismethod(function) else hookimpl(**options)(function))


def guard(extension: str, hook: str, function: Callable[..., Any], watch: Watch | None = None) -> Callable[..., Any]:
    """`function`, whose exceptions become ExtensionErrors with the names of the extension and the hook.

    `watch` counts failures and knows who is inside; without one nobody does (an extension's start, its checks).
    """
    watch = watch or Watch()
    chain = STYLES.get(hook) == "chain"  # what it returned is checked by who called it: `Hooks`

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            with _charged(watch, extension, hook, job_among(args, kwargs)):
                result = function(*args, **kwargs)
        except EaselError:
            raise
        except (Exception, SystemExit) as error:
            raise watch.failed(failure(extension, hook, error), error) from error
        if not chain:
            watch.worked(extension, hook)
        return result

    return guarded


def _guard_wrapper(extension: str, hook: str, function: Callable[..., Any], watch: Watch | None) -> Callable[..., Any]:
    """The same for a wrapper: what is raised below it and passes through is not the wrapper's failure."""
    watch = watch or Watch()

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Generator[None, Any, Any]:
        from_below: BaseException | None = None
        wrapper, job = function(*args, **kwargs), job_among(args, kwargs)
        try:
            with _charged(watch, extension, hook, job):
                next(wrapper)
            try:
                result = yield
            except BaseException as error:  # noqa: BLE001 - handed to the wrapper, which decides
                from_below = error
                with _charged(watch, extension, hook, job):
                    wrapper.throw(error)
            else:
                with _charged(watch, extension, hook, job):
                    wrapper.send(result)
        except StopIteration as end:
            watch.worked(extension, hook)
            return end.value
        except EaselError:
            raise
        except (Exception, SystemExit) as error:
            if error is from_below:
                raise
            raise watch.failed(failure(extension, hook, error), error) from error
        raise watch.failed(ExtensionError(extension, hook, "a wrapper yields exactly once"))

    return guarded


@contextmanager
def _charged(watch: Watch, extension: str, hook: str, job: Job | None) -> Iterator[None]:
    """While an extension's code runs: it is known who is inside, and the job's account has the time."""
    with watch.inside(extension, hook, job), nullcontext() if job is None else job.charged(extension):
        yield


def failure(extension: str, hook: str, error: BaseException) -> ExtensionError:
    """The error for an exception that came out of an extension's code; without the paths that system errors name."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ExtensionError(extension, hook, f"{type(error).__name__}: {said}" if said else type(error).__name__)
