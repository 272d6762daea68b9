"""Who is inside an extension's code now, and whose hooks fail: what is needed to name a culprit.

A process has one `Watch`. It counts failures of a hook in a row; whoever it tells decides about quarantine. Who is
inside is kept for each thread, and handed on after every change, so that it outlives a process that is killed.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from easel.errors import ExtensionError
from easel.values.job import Job

T = TypeVar("T")
_TRACEBACK = 8000  # characters that are kept of one, its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure of an extension: evidence for operators, never for clients (tracebacks name paths)."""

    extension: str
    hook: str
    message: str
    when: float  # seconds since 1970
    count: int = 1  # of this hook in a row, or of lost workers within the last hour
    kind: Literal["hook", "worker"] = "hook"
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Inside:
    """A thread that is in a hook of an extension, for which job, since when (`time.monotonic`)."""

    extension: str
    hook: str
    job: str
    since: float


class Watch:
    """One process' extensions at work. Thread-safe; `tell` and `show` are called from the threads that run hooks."""

    def __init__(self) -> None:
        self.tell: Callable[[Fault], None] = lambda fault: None
        self.show: Callable[[tuple[Inside, ...]], None] | None = None  # who is inside, after every change
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str], int] = {}
        self._stacks: dict[int, list[Inside | None]] = {}  # by thread; None: back in the core

    @contextmanager
    def inside(self, extension: str, hook: str, job: Job | None) -> Iterator[None]:
        """While an extension's code runs."""
        with self._frame(Inside(extension, hook, job.id if job else "", time.monotonic())):
            yield

    @contextmanager
    def outside(self) -> Iterator[None]:
        """While the core works, or waits, on behalf of an extension."""
        with self._frame(None):
            yield

    def carried(self, function: Callable[[], T]) -> Callable[[], T]:
        """`function` of the extension that this thread is in, for another thread to run."""
        stack = self._stacks.get(threading.get_ident())
        here = stack[-1] if stack else None
        if here is None:
            return function

        def run() -> T:
            with self._frame(replace(here, since=time.monotonic())):
                return function()

        return run

    def worked(self, extension: str, hook: str) -> None:
        """A hook did what it should: its failures are not in a row any more."""
        self._rows.pop((extension, hook), None)

    def failed(self, error: ExtensionError, cause: BaseException | None = None) -> ExtensionError:
        """A hook failed; the error, to be raised."""
        with self._lock:
            key = error.extension, error.hook
            count = self._rows[key] = self._rows.get(key, 0) + 1
        told = "".join(traceback.format_exception(cause)) if cause is not None else ""
        self.tell(
            Fault(
                extension=error.extension,
                hook=error.hook,
                message=error.reason,
                when=time.time(),
                count=count,
                traceback=told[-_TRACEBACK:],
            )
        )
        return error

    def forget(self, extension: str) -> None:
        """A fresh start: it was switched on."""
        with self._lock:
            self._rows = {key: count for key, count in self._rows.items() if key[0] != extension}

    @contextmanager
    def _frame(self, frame: Inside | None) -> Iterator[None]:
        stack = self._stacks.setdefault(threading.get_ident(), [])
        stack.append(frame)
        self._shown()
        try:
            yield
        finally:
            stack.pop()
            if not stack:
                self._stacks.pop(threading.get_ident(), None)
            self._shown()

    def _shown(self) -> None:
        if self.show is not None:
            with self._lock:
                tops = [stack[-1] for stack in list(self._stacks.values()) if stack]
                self.show(tuple(top for top in tops if top is not None))


def job_among(arguments: tuple[Any, ...], named: dict[str, Any]) -> Job | None:
    """The job that a hook was called for."""
    return next((one for one in (*arguments, *named.values()) if isinstance(one, Job)), None)
