"""Between pluggy and an extension's code: whatever it raises gets the name of the extension and the hook.

Easel's own errors (`JobRefused`, `JobCancelled`, `BadRequest` …) are decisions, not failures: they pass unchanged.
`SystemExit` counts as a failure, so that an extension cannot end the process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import TYPE_CHECKING, Any

from easel.errors import EaselError, ExtensionError

if TYPE_CHECKING:
    import pluggy


class Guarded:
    """What is registered with pluggy in an extension's place: its hook methods, each one guarded."""

    def __init__(self, extension: str, plugin: object, manager: pluggy.PluginManager) -> None:
        for name in dir(plugin):
            options = manager.parse_hookimpl_opts(plugin, name)
            if options is not None:
                guard = _guard_wrapper if options["wrapper"] else _guard
                setattr(self, name, guard(extension, name, getattr(plugin, name)))


def _guard(extension: str, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except EaselError:
            raise
        except (Exception, SystemExit) as error:
            raise failure(extension, hook, error) from error

    return guarded


def _guard_wrapper(extension: str, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a wrapper: what is raised below it and passes through is not the wrapper's failure."""

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Generator[None, Any, Any]:
        from_below: BaseException | None = None
        wrapper = function(*args, **kwargs)
        try:
            next(wrapper)
            try:
                result = yield
            except BaseException as error:  # noqa: BLE001 - handed to the wrapper, which decides
                from_below = error
                wrapper.throw(error)
            else:
                wrapper.send(result)
        except StopIteration as end:
            return end.value
        except EaselError:
            raise
        except (Exception, SystemExit) as error:
            if error is from_below:
                raise
            raise failure(extension, hook, error) from error
        raise ExtensionError(extension, hook, "a wrapper yields exactly once")

    return guarded


def failure(extension: str, hook: str, error: BaseException) -> ExtensionError:
    """The error for an exception that came out of an extension's code."""
    return ExtensionError(extension, hook, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
